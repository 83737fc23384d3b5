"""The errors of the commands: what people read on stderr, and the exit code that the process ends with."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.output import printable
from gateway.core.errors import ConfigError, GatewayError, Problem

if TYPE_CHECKING:
    from gateway.observability.logs import Log


class UsageError(GatewayError):
    exit_code = 2


class Unwritable(GatewayError):
    exit_code = 74


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


def _cause(error: BaseException) -> BaseException:
    """The first error of ours inside a group of them: what else failed, failed because of it."""
    if isinstance(error, BaseExceptionGroup):
        causes = [_cause(inner) for inner in error.exceptions]
        return next((cause for cause in causes if isinstance(cause, GatewayError)), causes[0])
    return error
