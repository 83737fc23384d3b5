"""Errors of the commands: the text on stderr and the exit code. Exit codes: docs/reference.md, "Exit codes"."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.output import counted, printable
from gateway.core.errors import ConfigError, GatewayError, Problem

if TYPE_CHECKING:
    from gateway.observability.logs import Log


class UsageError(GatewayError):
    """The command was called in a way that has no meaning."""

    exit_code = 2


class Unwritable(GatewayError):
    """A file that the command was asked for can't be written."""

    exit_code = 74


def exit_code(error: BaseException, journal: Log | None = None) -> int:
    """Explain an error on stderr, once and for people, and return the exit code of the process.

    Args:
        journal: the log that writes to systemd's journal, if stderr is the journal: each line there is a record with a priority.
    """
    cause = _cause(error)
    if journal is not None:
        problems = cause.problems if isinstance(cause, ConfigError) else ()
        for problem in problems:
            journal.error("config.problem", problem=str(problem))
        status = cause.exit_code if isinstance(cause, GatewayError) else 70
        bug = {} if isinstance(cause, GatewayError) else {"exc_info": cause}
        said = (
            f"{counted(len(problems), 'problem', 'problems')} in {cause.file}" if isinstance(cause, ConfigError) else str(cause)
        )
        journal.critical("gateway.failed", error=said, exit_code=status, **bug)
        return status
    if isinstance(cause, ConfigError):
        complain(cause.problems)
    elif isinstance(cause, GatewayError):
        # The text may repeat an argument, which may hold a line break.
        print(f"gateway: error: {printable(str(cause))}", file=sys.stderr)
    else:
        # A bug. The traceback prints no local variables, because they could hold secrets.
        traceback.print_exception(cause)
        print("gateway: this is a bug in the gateway; please report it with the lines above", file=sys.stderr)
    return cause.exit_code if isinstance(cause, GatewayError) else 70


def complain(problems: Iterable[Problem]) -> None:
    """Print problems on stderr, each with its line and a caret."""
    for problem in problems:
        print("\n".join(explained(problem)), file=sys.stderr)


def explained(problem: Problem) -> list[str]:
    """Return `file:line:column: error: text`, then that line of the file, and a caret below the place with a hint."""
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


def _cause(error: BaseException) -> BaseException:
    """Return the first error of the gateway's own inside a group: the others failed because of it."""
    if isinstance(error, BaseExceptionGroup):
        causes = [_cause(inner) for inner in error.exceptions]
        return next((cause for cause in causes if isinstance(cause, GatewayError)), causes[0])
    return error
