"""The command `gateway`. One file per command group; each is imported only when its command runs."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError, Parameter

from gateway import __version__
from gateway.cli.lines import printable
from gateway.cli.streams import flushed, secure

app = App(
    name="gateway",
    help="Receive Legitmark's webhooks, and deliver each to the sinks that the rules name.",
    version=__version__,
    default_parameter=Parameter(show_default=False),  # that a flag is not given unless it is given needs no word
)
_COMMANDS = (
    ("serve", "serve", "Receive webhooks and deliver them."),
    ("demo", "demo", "Run the gateway with four local sinks and a story of signed events."),
    ("init", "init", "Write a commented configuration to begin with."),
    ("check", "check", "Check a configuration and say every problem at once."),
    ("route", "route", "Show where an event would go, and why. Sends nothing."),
    ("test", "test", "Run the tests that stand beside the routes."),
    ("send", "send", "Sign an event as Legitmark would, and post it to the gateway."),
    ("status", "status", "Say how the running gateway is, and what needs a person."),
    ("messages", "browse", "List the messages that came in."),
    ("show", "browse", "Tell the whole story of a message or a service request."),
    ("deliveries", "browse", "List deliveries with their state."),
    ("replay", "operate", "Deliver again: dead deliveries, or to a new sink."),
    ("discard", "operate", "End queued or dead deliveries for good."),
    ("pause", "operate", "Hold all deliveries to a sink."),
    ("resume", "operate", "Deliver to a paused sink again."),
    ("drill", "drill", "Send a message marked [TEST] through a sink, and say what came back."),
    ("reload", "reload", "Let the running gateway read its configuration again."),
    ("reverify", "reverify", "Take in requests that were refused while a secret was wrong."),
    ("backtest", "backtest", "Say what other rules would have done with the messages that came."),
    ("tail", "tail", "Print the audit log, readable; -f follows it."),
    ("completion", "completion", "Print the script by which bash, zsh or fish completes all this."),
)
for name, module, summary in _COMMANDS:
    # The command that is called explains itself at length, by its docstring; the list of all need not import them for that.
    about = {} if name in sys.argv[1:2] else {"help": summary}
    app.command(f"gateway.cli.{module}:{name}", name=name, **about)

db = App(name="db", help="Back up the database, and check it.")
app.command(db)
for name, summary in (
    ("backup", "Copy the database into a file, beside the traffic."),
    ("check", "Read the whole database, or a backup, and say what is wrong."),
):
    about = {} if ["db", name] == sys.argv[1:3] else {"help": summary}
    db.command(f"gateway.cli.db:{name}", name=name, **about)


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
        from gateway.cli.common import exit_code

        return exit_code(error)
    return status if isinstance(status, int) else 0
