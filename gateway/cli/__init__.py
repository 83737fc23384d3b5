"""The command `gateway`. One file per command group; each is imported only when its command runs."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

from gateway import __version__

app = App(
    name="gateway", help="Receive Legitmark's webhooks, and deliver each to the sinks that the rules name.", version=__version__
)
for name, summary in (
    ("serve", "Receive webhooks and deliver them."),
    ("demo", "Run the gateway with four local sinks and a story of signed events."),
    ("check", "Check a configuration and say every problem at once."),
    ("route", "Show where an event would go, and why. Sends nothing."),
    ("send", "Sign an event as Legitmark would, and post it to the gateway."),
    ("tail", "Print the audit log, readable; -f follows it."),
):
    app.command(f"gateway.cli.{name}:{name}", name=name, help=summary)


def main() -> None:
    """Run the command line; ends the process with one of the exit codes of CONTRACT section 8."""
    try:
        status = app(sys.argv[1:], exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `gateway tail | head`: whoever read us has seen enough. What is left in the buffer of stdout has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        from gateway.cli.common import exit_code

        sys.exit(exit_code(error))
    sys.exit(status if isinstance(status, int) else 0)
