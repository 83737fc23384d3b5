"""The table [reconcile]: what it means where it is written, what a reload makes of it, and what `check` notes about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.diff import differences
from gateway.config.settings import ReconcileSettings
from gateway.core.errors import ConfigError
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

TOML = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
source = "legitmark"
sinks = ["archive"]
[[routes]]
match = { source = "gateway" }
sinks = ["archive"]
"""
TABLE = '[reconcile]\nurl = "https://api.example.com/api/v2/sr"\napi_key = { env = "LEGITMARK_API_KEY" }\n'
KEY = "leo_pk_test_4711"


def loaded(folder: Path, text: str, key: str = KEY, *, secrets: bool = True) -> Config:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, Environment({"LEGITMARK_SECRET": SECRET, "LEGITMARK_API_KEY": key}), secrets=secrets)


def notes(folder: Path, text: str) -> list[str]:
    config = loaded(folder, text)
    assert config.warnings == ()
    return [note.wrong for note in config.notes]


def test_without_the_table_there_is_no_reconciliation(tmp_path: Path) -> None:
    assert loaded(tmp_path, TOML).reconcile is None


def test_a_url_and_a_key_are_enough(tmp_path: Path) -> None:
    config = loaded(tmp_path, TABLE + TOML)
    ref = SecretRef(env="LEGITMARK_API_KEY")
    assert config.reconcile == ReconcileSettings(url="https://api.example.com/api/v2/sr", api_key=ref)
    assert config.secret(ref).reveal() == KEY
    assert (float(config.reconcile.gap), config.reconcile.emit) == (155 * 60.0, False)


def test_it_resolves_no_secret_where_none_may_be_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, TABLE + TOML, key="", secrets=False).reconcile is not None


@pytest.mark.parametrize("key", [f"Bearer {KEY}", f'"{KEY}"', "leo_pk_a b47", "leo_日本"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, TABLE + TOML, key)
    (problem,) = refused.value.problems
    assert problem.place == "[reconcile] api_key"
    assert KEY not in str(problem) and "日本" not in str(problem)


@pytest.mark.parametrize("text", ["reconcile = 3\n", "[[reconcile]]\nemit = true\n"])
def test_something_else_in_its_place_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text + TOML)
    assert refused.value.problems[0].place == "[reconcile]"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", TABLE, ["added [reconcile]"]),
        (TABLE, "", ["removed [reconcile]"]),
        (TABLE, TABLE + "emit = true\n", ["changed [reconcile] emit: false -> true"]),
        (TABLE, TABLE.replace("env", "file"), ["changed [reconcile] api_key: env LEGITMARK_API_KEY -> file LEGITMARK_API_KEY"]),
    ],
)
def test_a_reload_names_what_changed(before: str, after: str, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "LEGITMARK_API_KEY").write_text(KEY)
    (tmp_path / "LEGITMARK_API_KEY").chmod(0o600)
    assert [str(one) for one in differences(loaded(tmp_path, before + TOML), loaded(tmp_path, after + TOML))] == said


def test_a_reload_tells_another_key_in_the_same_place_without_showing_it(tmp_path: Path) -> None:
    old, new = loaded(tmp_path, TABLE + TOML), loaded(tmp_path, TABLE + TOML, f"{KEY}_next")
    (said,) = [str(one) for one in differences(old, new)]
    assert said == "changed [reconcile] api_key: env LEGITMARK_API_KEY -> another secret in the same place"


def test_check_notes_that_nobody_hears_what_is_found(tmp_path: Path) -> None:
    deaf = TOML.replace('source = "gateway"', 'source = "gateway", event_type = "gateway.delivery_dead"')
    assert notes(tmp_path, TABLE + TOML) == []
    assert notes(tmp_path, deaf) == []
    (note,) = notes(tmp_path, TABLE + deaf)
    assert "gateway.sr_differs" in note


def test_check_notes_that_emitted_events_go_nowhere(tmp_path: Path) -> None:
    emitting = f"{TABLE}emit = true\n"
    (note,) = notes(tmp_path, emitting + TOML)
    assert "emits go nowhere" in note
    assert notes(tmp_path, emitting + TOML.replace('source = "legitmark"', 'source = ["legitmark", "reconcile"]')) == []
    assert notes(tmp_path, emitting + TOML.replace('source = "legitmark"\n', "")) == []


def test_a_key_that_is_pasted_into_the_file_is_found_wherever_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, TABLE + TOML + '[[routes]]\nname = "leo_pk_live_0815471108154711"\nsinks = []\n')
    assert ["looks like a secret" in problem.wrong for problem in refused.value.problems] == [True]
    assert "0815471108154711" not in str(refused.value)
