"""`check` reads the host and the addresses of an email sink as people write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET


def problems(
    folder: Path, host: str = "smtp.example.com", sender: str = "gateway@example.com", recipient: str = "a@example.com"
) -> list[tuple[str, str, str]]:
    """Return level, place and message of every problem."""
    file = folder / "gateway.toml"
    file.write_text(
        '[sources.legitmark]\nsecrets = [{ env = "S" }]\n[sinks.care]\ntype = "email"\n'
        f"host = {json.dumps(host)}\nsender = {json.dumps(sender)}\nrecipients = [{json.dumps(recipient)}]\n"
        '[[routes]]\nname = "all"\nsinks = ["care"]\n',
        encoding="utf-8",
    )
    try:
        found = list(load(file, Environment({"S": SECRET})).warnings)
    except ConfigError as error:
        found = list(error.problems)
    return [(problem.level, problem.place, f"{problem.wrong} ({problem.hint})") for problem in found]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("smtp.example.com:587", "port has its own key"),
        ("smtps://smtp.example.com", "only a host"),
        (" smtp.example.com", "space"),
        ("", "empty"),
        ("user@smtp.example.com", "after the @"),
        ("smtp.example.com/", "path"),
        ("127.1", "IPv4"),
        ("a\nb", "line break"),
        ("a\x00b", "NUL"),
    ],
)
def test_a_text_that_is_not_a_host_is_an_error_with_a_hint(host: str, said: str, tmp_path: Path) -> None:
    ((level, place, message),) = problems(tmp_path, host=host)
    assert (level, place) == ("error", "[sinks.care] host")
    assert said in message


@pytest.mark.parametrize("host", ["smtp.example.com", "smtp.example.com.", "[2001:db8::1]", "192.0.2.1", "bücher.example"])
def test_a_host_that_can_be_dialled_is_accepted(host: str, tmp_path: Path) -> None:
    assert problems(tmp_path, host=host) == []


def test_a_text_that_is_not_an_address_is_an_error_at_its_own_place(tmp_path: Path) -> None:
    ((level, place, message),) = problems(tmp_path, recipient="mailto:a@example.com")
    assert (level, place) == ("error", "[sinks.care] recipients")
    assert "remove mailto:" in message


def test_a_name_with_a_comma_and_a_non_ascii_domain_are_accepted_as_they_are(tmp_path: Path) -> None:
    assert problems(tmp_path, sender="Legitmark, Inc. <gateway@bücher.example>", recipient="Doe, Jane <j@example.com>") == []


def test_a_non_ascii_local_part_is_a_warning_that_names_the_smtp_extension_it_needs(tmp_path: Path) -> None:
    ((level, place, message),) = problems(tmp_path, recipient="担当 <担当@example.com>")
    assert (level, place) == ("warning", "[sinks.care] recipients")
    assert "SMTPUTF8" in message
