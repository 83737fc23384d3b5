"""Any input ends a command with a documented exit code and a line that says why, and never with a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.commands import app
from tests.cli.running import CONFIG, environment
from tests.cli.serving import serving

CODES = {0, 1, 2, 65, 69, 70, 73, 74, 78} - {70}
"""docs/reference.md, "Exit codes", without the one for a bug."""
VALUES = (
    *("", " ", "-", "-1", "-50", "0", "1", "99999999999999999999", "9" * 5000, "1e999", "nan", "0x10", "1.5"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-02-30T00:00:00Z", "2h", "100000w", "-2h"),
    *(
        "=",
        "a=b=c",
        "a.b.c=1",
        "state=1e999",
        ".=1",
        "sides.0.side=x",
        "a" * 300,
        "../x",
        ".",
        "/",
        "/dev/null",
        "/no/such/folder",
        "x\ny",
    ),
    *(
        "unix:",
        "unix:/" + "x" * 200,
        "127.0.0.1:99999",
        "127.0.0.1:1",
        "fd:x",
        "[::1",
        "http://" + "a" * 70 + ".example",
        "http://[::1",
    ),
    *(
        "鞄",
        "\u202e",
        "\udcff",
        "[bold]:100:[/]",
        "%s{}",
        "counterfeit",
        "archive",
        "nosuch",
        "50/s",
        "1e-9/h",
        "c",
        "msg_1",
        "f" * 32,
    ),
)
LISTS = ("--id", "--sr", "--since", "--until", "--sink", "--limit", "--lines", "--status", "--state")


GROUPS = ("db", "evidence")
"""The commands that have commands of their own."""


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the names of each command and its app."""
    for name in app:
        if name.startswith("-") or name in ("serve", "demo"):
            continue
        if name in GROUPS:
            yield from (((name, inner), app[name][inner]) for inner in app[name] if not inner.startswith("-"))
        else:
            yield (name,), app[name]


REQUIRED = {
    "route": ["counterfeit"],
    "send": ["counterfeit", "--count", "1"],
    "sr": ["x"],
    "show": ["x"],
    "redecode": ["--since", "1d"],
    "pause": ["archive"],
    "resume": ["archive"],
    "drill": ["archive"],
    "backtest": ["--against", "gateway.toml"],
    "replay": ["--yes"],
    "discard": ["--yes"],
}


def calls(folder: Path) -> list[list[str]]:
    """Return calls that try every value for every argument and option of every command, one at a time."""
    found = []
    for name, command in commands():
        for argument in command.assemble_argument_collection():
            if argument.hint is bool or argument.names == ("*",):
                continue
            option = next((one for one in argument.names if one.startswith("--")), None)
            needed = REQUIRED.get(name[0], [])
            for value in VALUES:
                if name == ("init",) and (value.startswith("/") or value == "../x"):
                    continue  # it would be written
                if name == ("play",) and option in ("--port", "--retry-after") and value in ("0", "1", "0x10", "1.5"):
                    continue  # it would serve until somebody ends it
                if name[0] == "db" and value in ("/dev/null",):
                    continue
                if name == ("db", "backup") and value == "/":
                    continue  # it would lie in the root folder of this machine
                if option == "--junit" and value.startswith(("/", "..")):
                    continue
                if option is None:
                    found.append([*name, *[one for one in needed if one.startswith("--")], value])
                elif option == "--config":
                    found.append([*name, *needed, option, value])
                elif option != "--count" or len(value) < 2:
                    found.append([*name, *needed, f"{option}={value}"])
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "gateway.toml").write_text(CONFIG.format(port=0) + '[admin]\nlisten = ["127.0.0.1:0"]\n')
    return folder


@pytest.fixture(scope="module")
def results(place: Path) -> list[dict[str, Any]]:
    given = "".join(json.dumps(call) + "\n" for call in calls(place))
    with serving(place):
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.fuzzing"],
            cwd=place,
            env=environment(),
            input=given.encode(),
            capture_output=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_exit_code_is_a_documented_one(results: list[dict[str, Any]]) -> None:
    assert len(results) > 1000
    wrong = [(one["call"], one["status"], one["err"][-300:]) for one in results if one["status"] not in CODES]
    assert not wrong, f"{len(wrong)}: " + "\n".join(map(str, wrong[:40]))


def test_no_traceback_is_shown(results: list[dict[str, Any]]) -> None:
    wrong = [(one["call"], one["err"][-300:]) for one in results if "Traceback" in one["out"] + one["err"]]
    assert not wrong, f"{len(wrong)}: " + "\n".join(map(str, wrong[:20]))


def test_a_failed_command_says_why_on_stderr(results: list[dict[str, Any]]) -> None:
    silent = [one["call"] for one in results if one["status"] not in (0, 1) and not one["err"].strip() and not one["out"].strip()]
    assert not silent, silent[:20]


def test_json_is_json(results: list[dict[str, Any]]) -> None:
    for one in results:
        assert "Infinity" not in one["out"], one["call"]


def test_a_usage_error_is_one_line(results: list[dict[str, Any]]) -> None:
    long = [(one["call"], one["err"]) for one in results if one["status"] == 2 and one["err"].strip().count("\n") > 0]
    assert not long, long[:20]
