"""The differences between two configurations, as a reload reports them. The value of a secret is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.diff import Difference, differences, until_restart
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

BASE = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
[sinks.erp]
type = "http"
url = "https://erp.example/hook"
bearer = { file = "token" }
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
name = "verdicts"
match = { milestone = ["authentic", "counterfeit"] }
sinks = ["erp", "archive"]
[[routes]]
name = "rest"
sinks = ["archive"]
fallback = true
"""


def loaded(folder: Path, text: str) -> Config:
    folder.mkdir(exist_ok=True)
    token = folder / "token"
    if not token.exists():
        token.write_text("token-9Zk1")
        token.chmod(0o600)
    file = folder / "gateway.toml"
    file.write_text(text)
    return load(file, Environment({"LEGITMARK_SECRET": SECRET, "OTHER": SECRET}))


def changed(folder: Path, old: str, new: str) -> list[str]:
    return [str(one) for one in differences(loaded(folder, BASE), loaded(folder, BASE.replace(old, new)))]


def test_the_same_file_has_no_differences(tmp_path: Path) -> None:
    assert differences(loaded(tmp_path, BASE), loaded(tmp_path, "# a comment\n" + BASE)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[sinks.erp]\n", '[sinks.erp]\ntimeout = "10s"\n', ["changed [sinks.erp] timeout: 30s -> 10s"]),
        ('["authentic", ', "[", ['changed [[routes]] "verdicts" match: { milestone = ["authentic", "counterfeit"] } -> {…']),
        ('name = "rest"', 'name = "others"', ['removed [[routes]] "rest"', 'added [[routes]] "others"']),
        ("[sources.legitmark]\n", '[sources.legitmark]\npath = "/in"\n', ["changed [sources.legitmark] path: "]),
        (
            'type = "jsonl"\npath = "events.jsonl"',
            'type = "jsonl"\npath = "e"',
            ['changed [sinks.archive] path: "events.jsonl" -> "e"'],
        ),
        ("[sinks.archive]\n", '[sinks.spare]\ntype = "jsonl"\npath = "s"\n[sinks.archive]\n', ["added [sinks.spare]"]),
        (
            '{ env = "LEGITMARK_SECRET" }',
            '{ env = "OTHER" }',
            ["changed [sources.legitmark] secrets: [env LEGITMARK_SECRET] -> "],
        ),
    ],
)
def test_each_difference_is_named_with_both_values(old: str, new: str, said: list[str], tmp_path: Path) -> None:
    found = changed(tmp_path, old, new)
    assert len(found) == len(said)
    for one, beginning in zip(found, said, strict=True):
        assert one.startswith(beginning.partition("…")[0])


def test_the_order_of_routes_is_a_difference(tmp_path: Path) -> None:
    one, two = 'name = "one"\nsinks = ["archive"]\n', 'name = "two"\nsinks = ["archive"]\nmatch = { milestone = "draft" }\n'
    old = loaded(tmp_path, f"{BASE}[[routes]]\n{one}[[routes]]\n{two}")
    new = loaded(tmp_path, f"{BASE}[[routes]]\n{two}[[routes]]\n{one}")
    assert [found.kind for found in differences(old, new)] == ["moved", "moved"]


def test_a_difference_that_needs_a_restart_says_so(tmp_path: Path) -> None:
    tables = (
        '[server]\nlisten = ["127.0.0.1:9"]\ndrain = "5s"\n[admin]\nlisten = ["127.0.0.1:7"]\n'
        '[store]\npath = "x.db"\nretention = "1d"\n'
    )
    found = differences(loaded(tmp_path, BASE), loaded(tmp_path, tables + '[audit]\npath = "x.jsonl"\n' + BASE))
    late = {one.place for one in found if one.restart}
    assert late == {"[server] listen", "[admin] listen", "[store] path", "[audit] path"}
    assert {one.place for one in found if not one.restart} == {"[server] drain", "[store] retention"}


def test_writing_out_a_default_is_not_a_difference(tmp_path: Path) -> None:
    assert changed(tmp_path, "[sources.legitmark]", '[store]\npath = "gateway.db"\n[sources.legitmark]') == []


def test_a_changed_secret_is_reported_but_not_shown(tmp_path: Path) -> None:
    old = loaded(tmp_path, BASE)
    (tmp_path / "token").write_text("token-2Bd4")
    assert differences(old, loaded(tmp_path, BASE)) == [
        Difference("changed", "[sinks.erp] bearer", "file token", "another secret in the same place")
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/hook", "/other?key=s3cret", 'url: "https://erp.example/***" -> another one, not shown'),
        ("erp.example/hook", "crm.example/s3cret", 'url: "https://erp.example/***" -> "https://crm.example/***"'),
        ("erp.example/hook", "erp.example", 'url: "https://erp.example/***" -> "https://erp.example"'),
        (
            "bearer =",
            'headers = { x-key = "s3cret", x-token = { file = "token" } }\nbearer =',
            'headers: {} -> { x-key = "***", x-token = file token }',
        ),
    ],
)
def test_a_value_that_may_be_a_pasted_secret_is_not_shown(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert changed(tmp_path, old, new) == [f"changed [sinks.erp] {said}"]


def test_files_opened_at_the_start_stay_until_a_restart_and_everything_else_changes(tmp_path: Path) -> None:
    tables = '[server]\nlisten = ["127.0.0.1:9"]\ndrain = "5s"\n[store]\npath = "x.db"\nretention = "1d"\n'
    old, new = loaded(tmp_path, BASE), loaded(tmp_path, tables + BASE)
    stays = until_restart(old, new)
    assert (stays.server.listen, stays.store.path, stays.database) == (old.server.listen, None, old.database)
    assert (stays.server.drain, stays.store.retention) == (new.server.drain, new.store.retention)
    assert [one.place for one in differences(stays, new)] == ["[server] listen", "[store] path"], "it is still to come"
    assert differences(stays, old) != [] == differences(stays, stays)
