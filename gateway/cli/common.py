"""What the commands share: the configuration option, errors for people, and the events they name."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.cli.completion import event_names
from gateway.cli.lines import printable, to_json
from gateway.config import Config, find, load
from gateway.config.decode import suggestion
from gateway.core.errors import ConfigError, GatewayError, Problem
from gateway.core.instants import parse_instant
from gateway.core.samples import SAMPLES, with_values
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.observability.logs import Log

EventArgument = Annotated[str, Parameter(allow_leading_hyphen=True, completer=event_names)]
AdminOption = Annotated[
    str | None, Parameter(name="--admin", help='The admin listener, "host:port" or "unix:/path"; else [admin] listen.')
]
ConfigOption = Annotated[
    Path | None, Parameter(name=["--config", "-c"], help="The configuration; else $GATEWAY_CONFIG, ./gateway.toml, ...")
]
SetOption = Annotated[
    list[str] | None, Parameter(name="--set", negative="", help="Change a field first: path=value; may be repeated.")
]
SinceOption = Annotated[str | None, Parameter(name="--since", help='Received since: "2h", "7d", or an RFC 3339 instant.')]
UntilOption = Annotated[str | None, Parameter(name="--until", help="Received before: likewise.")]
JsonOption = Annotated[bool, Parameter(name="--json", negative="", help="For programs: JSON; of a list, a line each.")]


_EARLIEST, _LATEST = -62_135_596_800.0, 253_402_300_799.0
"""The first and the last second that can be written in RFC 3339 in UTC: years 1 and 9999."""


class UsageError(GatewayError):
    exit_code = 2


def console() -> Console:
    """Return the console for output: coloured on a terminal, plain if NO_COLOR is set (no-color.org) or it is piped."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # whoever read us has seen enough, which is no failure: `main` answers it

    plain = Environment.of_process().get("NO_COLOR") is not None
    # What a sender sent is printed as it came: neither ":100:" nor "[bold]" means anything here.
    return Output(soft_wrap=True, highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def configuration(given: Path | None, *, secrets: bool, warn: bool = True, journal: Log | None = None) -> Config:
    """Find and load; the warnings go to stderr. Raises ConfigError.

    Args:
        warn: False where the rules are not what the command is about.
        journal: as in `exit_code`.
    """
    environment = Environment.of_process()
    file = find(given, environment)
    config = load(file, environment, secrets=secrets)
    if not warn:
        return config
    if journal is None:
        complain(config.warnings)
    else:
        for problem in config.warnings:
            journal.warning("config.warning", problem=str(problem))
    return config


def complain(problems: Iterable[Problem]) -> None:
    """Print problems on stderr, each with its line and a caret."""
    for problem in problems:
        print("\n".join(explained(problem)), file=sys.stderr)


def explained(problem: Problem) -> list[str]:
    """`file:line:column: error: what is wrong`, then the line itself, a caret below what is meant, and what to do."""
    if problem.line is None or problem.column is None:
        return [str(problem)]
    from rich.cells import cell_len

    source = printable(problem.source.replace("\t", " "))
    before, meant = source[: problem.column - 1], source[problem.column - 1 : problem.column - 1 + problem.width]
    number = str(problem.line)
    caret = " " * cell_len(before) + "^" * max(cell_len(meant), 1)
    hint = f" {printable(problem.hint)}" if problem.hint else ""
    return [
        str(msgspec.structs.replace(problem, hint="")),
        f" {number} | {source}",
        f" {' ' * len(number)} | {caret}{hint}",
    ]


def exit_code(error: BaseException, journal: Log | None = None) -> int:
    """Say on stderr what went wrong, once and for people; what the process has to end with.

    Args:
        journal: where stderr is the journal, its log: each line there is a record, and has its priority.
    """
    cause = _cause(error)
    if journal is not None:
        problems = cause.problems if isinstance(cause, ConfigError) else ()
        for problem in problems:
            journal.error("config.problem", problem=str(problem))
        status = cause.exit_code if isinstance(cause, GatewayError) else 70
        bug = {} if isinstance(cause, GatewayError) else {"exc_info": cause}
        said = f"{len(problems)} problems in {cause.file}" if isinstance(cause, ConfigError) else str(cause)
        journal.critical("gateway.failed", error=said, exit_code=status, **bug)
        return status
    if isinstance(cause, ConfigError):
        complain(cause.problems)
    elif isinstance(cause, GatewayError):
        print(f"gateway: error: {printable(str(cause))}", file=sys.stderr)  # it may repeat what was typed, a line break in it too
    else:
        # A bug. The traceback has no local variables, which could hold secrets.
        traceback.print_exception(cause)
        print("gateway: this is a bug in the gateway; please report it with the lines above", file=sys.stderr)
    return cause.exit_code if isinstance(cause, GatewayError) else 70


def event_bytes(name: str, assignments: list[str] | None, config: Path | None, admin: str | None) -> bytes:
    """The body that EVENT stands for, with `--set` carried out. Without it, a file is passed on byte for byte."""
    return changed(named_bytes(name, config, admin), assignments)


def named_bytes(name: str, config: Path | None, admin: str | None) -> bytes:
    """The body that EVENT stands for: a sample's name, a file, `-` for standard input, or the id of a message that the running
    gateway has. Raises UsageError, or Unreachable where only the gateway could tell."""
    if name == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed: there is no event to read")
        return sys.stdin.buffer.read()
    if name in SAMPLES:
        return json.dumps(SAMPLES[name], ensure_ascii=False, separators=(",", ":")).encode()
    if (file := _file(name)) is not None:
        return file
    if re.fullmatch(r"[0-9a-f]{32}|msg_\w+", name):
        from gateway.cli.client import stored_body

        return asyncio.run(stored_body(name, config, admin))
    raise UsageError(f'"{name}" is neither a sample, a file nor the id of a message; {suggestion(name, SAMPLES)}')


def _file(name: str) -> bytes | None:
    """Return what a file holds; None if there is no such file. Raises UsageError if it can't be read."""
    try:
        path = Path(name)
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise UsageError(f"{printable(name)} can't be read: {error.strerror}") from None
    except ValueError:
        return None  # a text that is no path


def changed(raw: bytes, assignments: list[str] | None) -> bytes:
    """A body with `path=value` set; the very same bytes where there is none to set. Raises UsageError."""
    if not assignments:
        return raw
    try:
        event: Any = json.loads(raw)
        if not isinstance(event, dict):
            raise ValueError("--set needs an event that is a JSON object")
        return to_json(with_values(event, assignments), compact=True).encode()
    except RecursionError:
        raise UsageError("--set can't change an event that is nested so deeply") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def working_directory() -> Path | None:
    """The folder in which the command was called; None if it was deleted since."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def agreed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no."""
    # By hand: `input` would ask on stdout where that is a file or a pipe.
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def instant(text: str | None) -> float | None:
    """Unix seconds of `--since` and `--until`: an RFC 3339 instant, or so long ago. Raises UsageError."""
    if text is None:
        return None
    try:
        return Clock().now() - Duration(text)
    except ValueError:
        pass
    try:
        return min(max(parse_instant(text), _EARLIEST), _LATEST)
    except (ValueError, OverflowError):
        raise UsageError(f'"{text}" is neither a span such as "2h" nor an instant such as "2026-03-01T09:00:00Z"') from None


def _cause(error: BaseException) -> BaseException:
    """The first error of ours inside a group of them: what else failed, failed because of it."""
    if isinstance(error, BaseExceptionGroup):
        causes = [_cause(inner) for inner in error.exceptions]
        return next((cause for cause in causes if isinstance(cause, GatewayError)), causes[0])
    return error
