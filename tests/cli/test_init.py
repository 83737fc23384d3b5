"""`gateway init` writes a configuration that is good and runs unchanged, and overwrites no file."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from gateway.config.schema import FILE
from tests.cli.running import gateway
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import PAYLOADS, SECRET

BODY = next(PAYLOADS.glob("*.json")).read_bytes()


def written(folder: Path) -> str:
    """Run `gateway init` in an empty folder, and return the configuration that it writes."""
    result = gateway("init", cwd=folder)
    assert (result.status, result.err) == (0, "")
    return (folder / "gateway.toml").read_text(encoding="utf-8")


def everything(text: str) -> str:
    """Uncomment every block."""
    return re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_the_configuration_has_no_warning_and_passes_its_own_tests(tmp_path: Path) -> None:
    written(tmp_path)
    check = gateway("check", "--no-secrets", "--strict", cwd=tmp_path)
    assert (check.status, check.err) == (0, "")
    assert "1 source(s), 1 sink(s), 2 route(s)" in check.out
    test = gateway("test", cwd=tmp_path)
    assert test.status == 0
    assert "1 passed, 0 failed" in test.out


def test_it_has_no_warning_with_every_block_uncommented(tmp_path: Path) -> None:
    text = written(tmp_path)
    (tmp_path / "gateway.toml").write_text(everything(text), encoding="utf-8")
    check = gateway("check", "--no-secrets", "--strict", cwd=tmp_path)
    assert (check.status, check.err) == (0, "")
    assert "1 source(s), 3 sink(s), 5 route(s)" in check.out
    assert "2 passed, 0 failed" in gateway("test", cwd=tmp_path).out


def test_it_shows_what_the_ledger_can_watch_ask_and_tell(tmp_path: Path) -> None:
    document = tomllib.loads(everything(written(tmp_path)))
    assert document["watch"][0]["state"] == "QC/PENDING"
    assert document["reconcile"]["api_key"] == {"env": "LEGITMARK_API_KEY"}
    assert document["sources"]["legitmark"]["silent_after"] == "12h"
    assert {"on_stale", "ordering", "failing_after"} <= document["sinks"]["erp"].keys()
    assert [route["sinks"] for route in document["routes"] if "join" in route] == [["desk"]]
    told = [route for route in document["routes"] if route.get("source") == "gateway"]
    assert [route["sinks"] for route in told] == [["archive"], ["desk"]]


def test_it_writes_the_schema_that_the_first_line_names(tmp_path: Path) -> None:
    text = written(tmp_path)
    sign, _, path = text.splitlines()[0].partition(" ")
    assert sign == "#:schema"
    assert (tmp_path / path).read_bytes() == FILE.read_bytes()
    validator = Draft7Validator(json.loads(FILE.read_bytes()))
    assert validator.is_valid(tomllib.loads(text))
    assert validator.is_valid(tomllib.loads(everything(text)))


async def test_it_runs_with_nothing_but_the_secret_set(tmp_path: Path) -> None:
    text = written(tmp_path)
    listens = '# [server]\n# listen = ["127.0.0.1:8080"]\n'
    assert text.count(listens) == 1
    text = text.replace(listens, '[server]\nlisten = ["127.0.0.1:0"]\n')
    with Running(tmp_path, text, {"LEGITMARK_SECRET": SECRET}) as running:
        assert (await running.post(BODY)).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.delivered", sink="archive"))
        first, *_ = (tmp_path / "events.jsonl").read_bytes().splitlines()  # the gateway's own event about a new type may follow
        assert json.loads(first)["body"] == json.loads(BODY)


@pytest.mark.parametrize("name", ["gateway.toml", "the rules.toml"])
def test_it_names_the_next_commands_as_they_are_typed(name: str, tmp_path: Path) -> None:
    result = gateway("init", name, cwd=tmp_path)
    lines = [shlex.split(line, comments=True) for line in result.out.splitlines() if line.startswith("  ")]
    assert lines[0] == ["export", "LEGITMARK_SECRET=whsec_..."]
    assert [line[1] for line in lines[1:]] == ["check", "serve", "send"]
    check = gateway(*lines[1][1:], cwd=tmp_path)
    assert check.status == 0, check
    assert f"{name}: good" in check.out
    unanswered = gateway(*lines[3][1:], cwd=tmp_path, variables={"LEGITMARK_SECRET": ""})
    assert unanswered.status == 78, "it reads this configuration, and misses the secret"
    assert "LEGITMARK_SECRET" in unanswered.err


def test_a_configuration_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mine")
    result = gateway("init", cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert "gateway.toml exists already" in result.err
    assert "--force" in result.err
    assert (tmp_path / "gateway.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


def test_with_force_it_writes_over_it(tmp_path: Path) -> None:
    text = written(tmp_path)
    (tmp_path / "gateway.toml").write_text("mine")
    assert gateway("init", "--force", cwd=tmp_path).status == 0
    assert (tmp_path / "gateway.toml").read_text(encoding="utf-8") == text


def test_the_schema_alone_leaves_the_configuration_alone(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mine")
    (tmp_path / "gateway.schema.json").write_text("of an older version")
    assert gateway("init", "--schema", cwd=tmp_path).status == 0
    assert (tmp_path / "gateway.toml").read_text() == "mine"
    assert (tmp_path / "gateway.schema.json").read_bytes() == FILE.read_bytes()


def test_a_missing_folder_is_an_error_of_the_disk(tmp_path: Path) -> None:
    result = gateway("init", "nowhere/gateway.toml", cwd=tmp_path)
    assert (result.status, result.out) == (74, "")
    assert "nowhere/gateway.toml can't be written: No such file or directory" in result.err


def test_the_help_says_what_happens_to_an_existing_configuration() -> None:
    told = " ".join(gateway("init", "--help").out.replace("│", " ").split())
    assert "Overwrite an existing configuration; otherwise that is exit code 2." in told
