"""Help and usage errors are quick and complete, and go to the right stream."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.commands import COMMANDS
from tests.cli.running import TIMEOUT, command, environment, gateway

NAMES = [name for name, *_ in COMMANDS] + ["db backup", "db check", "evidence export", "evidence verify", "evidence audit"]
LONGEST_HELP = 0.3
"""Seconds of CPU time, the best of five runs: other work on this host does not count."""


def test_the_help_of_the_app_names_each_command_with_its_summary() -> None:
    result = gateway("--help", variables={"COLUMNS": "120"})
    assert (result.status, result.err) == (0, "")
    for name, _, summary in COMMANDS:
        assert re.search(rf"{name} +{re.escape(summary)}", result.out), name


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_begins_with_what_it_does_and_gives_an_example(name: str) -> None:
    result = gateway(*name.split(), "--help", variables={"COLUMNS": "200"})
    assert (result.status, result.err) == (0, "")
    usage, _, summary = result.out.splitlines()[:3]
    assert usage.startswith(f"Usage: gateway {name}")
    assert re.match(r"[A-Z][a-z]+ .*\.", summary)
    assert re.search(rf"^Example: .*\bgateway {name}\b", result.out, re.MULTILINE)
    assert "False" not in result.out, "a flag that is off by default needs no mention of it"


def test_the_help_of_the_database_names_both_of_its_commands() -> None:
    result = gateway("db", "--help")
    assert (result.status, result.err) == (0, "")
    assert "backup" in result.out and "check" in result.out


def test_the_version_is_one_line() -> None:
    result = gateway("--version")
    assert result.status == 0
    assert len(result.out.splitlines()) == 1


def test_the_command_alone_shows_its_help() -> None:
    assert "Usage" in gateway().out


@pytest.mark.speed
def test_the_help_takes_less_than_a_third_of_a_second() -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def seconds() -> float:
        before = spent()
        subprocess.run(command("--help"), env=environment(), capture_output=True, timeout=TIMEOUT, check=True)
        return spent() - before

    assert min(seconds() for _ in range(5)) < LONGEST_HELP


@pytest.mark.parametrize("name", [*NAMES, "db", "evidence"])
def test_the_help_of_a_command_does_not_wait_for_what_only_its_work_needs(name: str) -> None:
    assert "aiohttp" not in imported(name), "a third of all the time that it took"


def test_the_help_imports_nothing_that_serves_or_sends() -> None:
    loaded = {module.partition(".")[0] for module in imported("")}
    assert not loaded & {"aiohttp", "aiosqlite", "aiosmtplib", "prometheus_client"}


def imported(name: str) -> set[str]:
    """Every module that the help of a command imports."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", *name.split(), "--help"],
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in run.stderr.decode().splitlines() if line.startswith("import time:")}
    assert "gateway.cli" in modules, "the report of importtime was read"
    return modules


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sned"], "sned"),
        (["check", "--strct"], "--strct"),
        (["check", "a.toml", "b.toml"], "b.toml"),
        (["route"], "EVENT"),
        (["send"], "EVENT"),
        (["send", "authentic", "--count"], "--count"),
        (["send", "authentic", "--count", "many"], "many"),
        (["tail", "-n", "few"], "few"),
        (["--nothing"], "--nothing"),
    ],
    ids=str,
)
def test_a_usage_error_ends_with_2_and_names_the_word_on_stderr(arguments: list[str], said: str, folder: Path) -> None:
    result = gateway(*arguments, cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert "Traceback" not in result.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["route", "counterfeit", "--json"], ["check"], ["test", "--json"]], ids=str)
def test_output_that_can_not_be_written_ends_with_74_and_no_traceback(folder: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), cwd=folder, stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False
        )
    assert done.returncode == 74
    assert done.stderr.decode().splitlines() == ["gateway: error: standard output: No space left on device"]
