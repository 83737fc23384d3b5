"""All problems are reported at once: no problem hides another, and none is invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

SOURCE = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
SINK = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'
ROUTE = '[[routes]]\nname = "all"\nsinks = ["archive"]\n'


def places(folder: Path, text: str) -> list[str]:
    file = folder / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Environment({"LEGITMARK_SECRET": SECRET}))
    return [problem.place for problem in caught.value.problems if problem.level == "error"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[server]\nlisten = ["8080"]\nmax_body = "many"\n', ["[server] listen", "[server] max_body"]),
        ('[server]\nlisten = ["8080"]\nlog = true\n', ["[server] listen", "[server] log"]),
        ('[store]\nretention = "0s"\nmin_free = "much"\n', ["[store] min_free", "[store] retention"]),
        ('[admin]\nlisten = ["0.0.0.0:8081"]\nport = 1\n', ["[admin] port", "[admin] token"]),
        (
            '[sources.b]\npath = "b"\nsecrets = [{ env = "NO" }]\ntolerance = "x"\n',
            ["[sources.b] path", "[sources.b] secrets", "[sources.b] tolerance"],
        ),
        ('[sinks.b]\ntype = "jsonl"\npath = "b"\nretry = []\ncolour = 1\n', ["[sinks.b] colour", "[sinks.b] retry"]),
        (
            '[sinks.b]\ntype = "http"\nurl = "x"\nsecret = { env = "NO" }\ntimeout = 5\n',
            ["[sinks.b] secret", "[sinks.b] timeout", "[sinks.b] url"],
        ),
    ],
)
def test_a_bad_key_does_not_hide_other_problems_in_its_table(table: str, expected: list[str], tmp_path: Path) -> None:
    assert sorted(places(tmp_path, f"{table}{SOURCE}{SINK}{ROUTE}")) == expected


def test_a_bad_route_hides_neither_its_other_keys_nor_another_route_of_its_name(tmp_path: Path) -> None:
    text = f'{SOURCE}{SINK}{ROUTE}[[routes]]\nname = "all"\nsinks = ["nobody"]\nfinal = 1\n'
    assert len(places(tmp_path, text)) == 3


def test_a_sink_or_source_with_a_problem_is_still_there_for_the_routes_that_name_it(tmp_path: Path) -> None:
    text = f'{SOURCE}tolerance = 5\n[sinks.archive]\ntype = "jsonl"\n[[routes]]\nsource = "legitmark"\nsinks = ["archive"]\n'
    assert places(tmp_path, text) == ["[sources.legitmark] tolerance", "[sinks.archive] path"]


def test_a_route_with_a_problem_is_still_there_for_the_tests_that_name_it(tmp_path: Path) -> None:
    test = '[[tests]]\nname = "t"\nevent = { event_type = "state_change" }\nroutes = ["all"]\n'
    assert places(tmp_path, f'{SOURCE}{SINK}{ROUTE}final = "yes"\n{test}') == ["[[routes]] 1 final"]


def test_a_test_that_names_an_unknown_source_is_a_problem(tmp_path: Path) -> None:
    test = '[[tests]]\nname = "t"\nevent = { event_type = "state_change" }\nsource = "legitmrk"\nsinks = ["archive"]\n'
    assert places(tmp_path, f"{SOURCE}{SINK}{ROUTE}{test}") == ['[[tests]] "t" source']


def test_a_source_with_an_invalid_name_causes_one_problem(tmp_path: Path) -> None:
    text = f'[sources."Legitmark EU"]\nsecrets = [{{ env = "LEGITMARK_SECRET" }}]\n{SINK}{ROUTE}'
    assert places(tmp_path, text) == ["[sources.Legitmark EU]"]


def test_a_secret_that_is_missing_is_named_at_each_place_that_needs_it(tmp_path: Path) -> None:
    other = '[sources.b]\nsecrets = [{ env = "NO" }]\n[sources.c]\nsecrets = [{ env = "NO" }]\n'
    assert places(tmp_path, f"{SOURCE}{other}{SINK}{ROUTE}") == ["[sources.b] secrets", "[sources.c] secrets"]


def test_a_valid_configuration_carries_its_warnings(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    mail = '[sinks.mail]\ntype = "email"\nhost = "smtp.example.internal"\nsecurity = "none"\nusername = "a"\n'
    file.write_text(f'{SOURCE}{mail}password = {{ env = "P" }}\nsender = "a@example.com"\nrecipients = ["b@example.com"]\n')
    config = load(file, Environment({"LEGITMARK_SECRET": SECRET, "P": "password-7Kp9"}))
    assert [(problem.level, problem.place) for problem in config.warnings] == [
        ("warning", "[[routes]]"),
        ("warning", "[sinks.mail] security"),
    ]
