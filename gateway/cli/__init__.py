"""The command `gateway`. One file per command group; each is imported only when its command runs."""

from __future__ import annotations

import sys

from cyclopts import CycloptsError

from gateway.cli.commands import app
from gateway.cli.output import printable
from gateway.cli.streams import flushed, secure

_NARROWEST = 20
"""Columns of the help at least: with COLUMNS=0 cyclopts fails, and with 1 or 2 it never ends."""
_LISTS = ("tail", "demo", "messages", "deliveries", "show")
"""Commands that end when nobody reads them any more. The others finish what they do, and their exit code tells it."""


def main() -> None:
    """Run the command line; ends the process with one of the exit codes of docs/reference.md, "Command line"."""
    secure(to_the_end=sys.argv[1:2] != [] and sys.argv[1] not in _LISTS)
    sys.exit(flushed(_run()))


def _run() -> int:
    """The exit code of the command that was called."""
    if sys.argv[1:] in ([], ["db"]) or {"--help", "-h"} & set(sys.argv):
        from rich.console import Console

        app.console = Console()
        app.console.width = max(app.console.width, _NARROWEST)
    try:
        status = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"gateway: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0  # whoever read us has seen enough
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            return 0  # the same, as the library that prints the help tells it
        raise
    except OSError as error:
        # What can fail by itself has an error of its own, or at least a name; what has neither is the folder that we were called
        # in, if it was deleted, or what stdout goes to.
        nameless = "the working directory" if isinstance(error, FileNotFoundError) else "standard output"
        print(f"gateway: error: {printable(str(error.filename or nameless))}: {error.strerror or error}", file=sys.stderr)
        return 74
    except Exception as error:
        from gateway.cli.errors import exit_code

        return exit_code(error)
    return status if isinstance(status, int) else 0
