"""Texts that `check` takes are texts that the gateway can use: URLs, headers, and the files that it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.core.values import Environment
from tests.conftest import SECRET

HEAD = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n[[routes]]\nsinks = ["s"]\n'


def problems(folder: Path, text: str) -> list[tuple[str, str]]:
    """Place and message of each."""
    file = folder / "gateway.toml"
    file.write_text(HEAD + text, encoding="utf-8")
    try:
        load(file, Environment({"LEGITMARK_SECRET": SECRET}))
    except ConfigError as error:
        return [(problem.place, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "url",
    [
        "https://erp.example.com /x",
        "https://${HOST}/x",
        "https://erp.exa\\nmple/",
        "http:/x",
        "https//x",
        "http://[::1",
        "",
        "http://x:0/",
        "http://x:99999/",
        "http://a\\\\b/",
        "http://x/#a",
        " https://x/",
        "https://x/ü",
        "https://u:p@x/",
    ],
)
@pytest.mark.parametrize("key", ["url", "api", "link"])
def test_a_url_is_refused_at_its_place(url: str, key: str, tmp_path: Path) -> None:
    if key == "link" and ("#" in url or "ü" in url):
        return  # a browser opens it
    sink = 'type = "http"\n' if key == "url" else 'type = "slack"\ntoken = { env = "LEGITMARK_SECRET" }\nchannel = "C1"\n'
    found = problems(tmp_path, f'[sinks.s]\n{sink}{key} = "{url}"\n')
    assert [place for place, _ in found] == [f"[sinks.s] {key}"]


def test_headers_that_differ_in_case_alone_are_one_header(tmp_path: Path) -> None:
    found = problems(tmp_path, '[sinks.s]\ntype = "http"\nurl = "http://x/"\nheaders = { "X-Tenant" = "a", "x-tenant" = "b" }\n')
    assert found == [("[sinks.s] headers.x-tenant", '"x-tenant" and "X-Tenant" are one header')]


@pytest.mark.parametrize("value", ["a\\r\\nb", "a\\u0000", "\\u007f", " a", "a "])
def test_a_header_value_that_can_not_be_sent_as_it_is_written_is_refused(value: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f'[sinks.s]\ntype = "http"\nurl = "http://x/"\nheaders = {{ "x-tenant" = "{value}" }}\n')
    assert [place for place, _ in found] == ["[sinks.s] headers.x-tenant"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("gateway.db", "the database"),
        ("./gateway.db", "the database"),
        ("sub/../gateway.db", "the database"),
        ("link.db", "the database"),
        ("hard.db", "the database"),
        ("gateway.db-wal", "the database's WAL"),
        ("gateway.db-shm", "the database's shared memory"),
        ("gateway.db-journal", "the database's journal"),
        ("gateway.db.lock", "the database's lock"),
        ("audit.jsonl", "the audit log"),
        ("linked/audit.jsonl", "the audit log"),
        ("other.jsonl", "the sink other"),
    ],
)
def test_a_jsonl_file_is_nobody_elses(path: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "gateway.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "gateway.db")
    (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.link(tmp_path / "gateway.db", tmp_path / "hard.db")
    other = '[sinks.other]\ntype = "jsonl"\npath = "other.jsonl"\n'
    found = problems(tmp_path, f'{other}[sinks.s]\ntype = "jsonl"\npath = "{path}"\n')
    assert ("[sinks.s] path", f"is the file of {what}") in found
    found = problems(tmp_path, f'{other}[sinks.s]\ntype = "jsonl"\npath = "{tmp_path / path}"\n')
    assert ("[sinks.s] path", f"is the file of {what}") in found


@pytest.mark.parametrize("path", ["gateway.db", "gateway.db-wal", "sub/../gateway.db"])
def test_the_audit_log_is_not_the_database(path: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    found = problems(
        tmp_path, f'[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n[audit]\npath = "{path}"\n[store]\npath = "gateway.db"\n'
    )
    assert found[0][0] == "[audit] path"
