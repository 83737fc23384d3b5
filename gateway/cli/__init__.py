"""The command `gateway`: the entry point. Each command group has a file of its own; `commands` lists them.

What several commands share:

    options     options, and how their values are read
    client      asks the running gateway
    events      the events that a person names
    output      texts for people, JSON for programs (streams: stdout and stderr, whatever became of them)
    errors      the text and the exit code of an error
    explain     why an event goes where it goes
    traces      how a message came, and what was found out about it
    signing_secret  the secret that --secret names
    preview     a delivery that is only shown
    proofs      puts a file of evidence together
    log_files   the last lines of the audit log, and those that come (audit_line: one of its lines)
"""

from __future__ import annotations

import sys

from cyclopts import CycloptsError, UnusedCliTokensError

from gateway.cli.commands import app
from gateway.cli.output import cut, printable
from gateway.cli.streams import flushed, secure

_NARROWEST = 20
"""Columns of the help at least: cyclopts fails at COLUMNS=0, and never ends at 1 or 2."""
_LISTS = ("tail", "demo", "play", "sr", "srs", "messages", "deliveries", "show")
"""Commands that end when their reader has gone. The others finish their work, and their exit code tells the result."""
_WITH_ID = ("messages", "deliveries")
"""Commands to which an id is given by `--id`."""


def main() -> None:
    """Run the command line, and end the process with an exit code of docs/reference.md, "Exit codes"."""
    secure(to_the_end=sys.argv[1:2] != [] and sys.argv[1] not in _LISTS)
    sys.exit(flushed(_run()))


def _run() -> int:
    """Run the command, and return its exit code."""
    if sys.argv[1:] in ([], ["db"], ["evidence"]) or {"--help", "-h"} & set(sys.argv):
        from rich.console import Console

        app.console = Console()
        app.console.width = max(app.console.width, _NARROWEST)
    try:
        status = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except UnusedCliTokensError as error:
        print(f"gateway: error: {printable(_unexpected(error))}", file=sys.stderr)
        return 2
    except CycloptsError as error:
        print(f"gateway: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0  # the reader has seen enough
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            return 0  # the same, while the help is printed
        raise
    except OSError as error:
        # Every other place has an error of its own or a file name. An error with neither comes from the working directory, if it
        # was deleted, or from stdout.
        nameless = "the working directory" if isinstance(error, FileNotFoundError) else "standard output"
        print(f"gateway: error: {printable(str(error.filename or nameless))}: {error.strerror or error}", file=sys.stderr)
        return 74
    except Exception as error:
        from gateway.cli.errors import exit_code

        return exit_code(error)
    return status if isinstance(status, int) else 0


def _unexpected(error: UnusedCliTokensError) -> str:
    """Say which argument is one too many, and what to write instead."""
    command, given = " ".join(error.command_chain or ()), (error.unused_tokens or [""])[0]
    instead = f"name an item or a message with --id {given}" if command in _WITH_ID else f"see gateway {command} --help"
    return f'"{cut(given)}" is one argument too many for gateway {command}: {cut(instead)}'
