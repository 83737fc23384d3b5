"""Closed, broken and full standard streams end no command. Only lost output on stdout changes the exit code."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import TIMEOUT, Result, command, environment, gateway

CLOSED = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-")


def shell(arguments: list[str], redirection: str, folder: Path) -> Result:
    """Run a command with a redirection that needs a shell."""
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(command(*arguments))} {redirection}"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("redirection", CLOSED)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["check"], 0),
        (["route", "counterfeit", "--json"], 0),
        (["route", "counterfeit", "--render", "archive"], 0),
        (["nosuch"], 2),
        (["messages"], 69),
        (["tail", "--config", "nosuch.toml"], 78),
        (["serve", "--config", "nosuch.toml"], 78),
    ],
    ids=str,
)
def test_a_closed_stream_changes_no_exit_code(folder: Path, arguments: list[str], status: int, redirection: str) -> None:
    result = shell(arguments, redirection, folder)
    assert result.status == status
    assert "Traceback" not in result.out + result.err


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2> >(exit)"], ids=["full", "reader gone"])
@pytest.mark.parametrize(
    ("arguments", "status"), [(["nosuch"], 2), (["messages"], 69), (["serve", "-c", "nosuch.toml"], 78)], ids=str
)
def test_a_broken_stderr_changes_no_exit_code(folder: Path, arguments: list[str], status: int, redirection: str) -> None:
    assert shell(arguments, redirection, folder).status == status


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["route", "counterfeit", "--json"]], ids=str)
def test_a_reader_that_has_seen_enough_is_not_a_failure(folder: Path, arguments: list[str]) -> None:
    result = shell(arguments, "| true; exit ${PIPESTATUS[0]}", folder)
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("redirection", ["| true; exit ${PIPESTATUS[0]}", "> >(exit)"], ids=["pipe", "reader gone"])
@pytest.mark.parametrize(("arguments", "status"), [(["check", "bad.toml"], 78), (["route", "counterfeit", "--expect", "x"], 1)])
def test_a_reader_that_has_seen_enough_hides_no_failure(
    folder: Path, arguments: list[str], status: int, redirection: str
) -> None:
    # More than a pipe takes at once, so that the command meets the end of its reader before it is done.
    (folder / "bad.toml").write_text("".join(f"x{number} = 1\n" for number in range(4000)))
    result = shell(arguments, redirection, folder)
    assert (result.status, result.err) == (status, "")


@pytest.mark.parametrize("columns", ["0", "1", "-1", "x", ""])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["db"], ["status", "--help"], ["check", "bad.toml"]], ids=str)
def test_a_malformed_width_breaks_nothing(folder: Path, arguments: list[str], columns: str) -> None:
    (folder / "bad.toml").write_text("x = 1\n")
    result = gateway(*arguments, cwd=folder, variables={"COLUMNS": columns})
    assert result.status == (78 if "bad.toml" in arguments else 0)
    assert "Traceback" not in result.err


def test_text_for_a_closed_stderr_goes_into_no_other_file(folder: Path) -> None:
    result = shell(["init", "new.toml"], ">&- 2>&-", folder)
    assert result.status == 0
    assert (folder / "new.toml").read_text().startswith("#:schema")
    assert "wrote" not in (folder / "new.toml").read_text()


def test_a_closed_stdin_is_a_usage_error(folder: Path) -> None:
    result = shell(["route", "-"], "<&-", folder)
    assert result.status == 2
    assert result.err == "gateway: error: standard input is closed: there is no event to read\n"


def test_letters_that_the_locale_lacks_are_escaped(folder: Path) -> None:
    result = gateway(
        "route", "counterfeit", "--set", "reference_id=鞄", "--json", cwd=folder, variables={"PYTHONIOENCODING": "ascii"}
    )
    assert (result.status, result.err) == (0, "")


def test_a_folder_that_was_deleted_is_named(tmp_path: Path, folder: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && {shlex.join(command('db', 'backup', 'copy.db'))}"
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 74
    assert done.stderr.decode() == "gateway: error: the working directory: No such file or directory\n"
    script = (
        f"mkdir {gone}; cd {gone} && rmdir {gone} && {shlex.join(command('route', 'counterfeit', '-c', folder / 'gateway.toml'))}"
    )
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
