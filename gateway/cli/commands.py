"""The list of commands. Each is imported only when it runs: `gateway --help` loads none of them."""

from __future__ import annotations

import sys

from cyclopts import App, Parameter

from gateway import __version__

app = App(
    name="gateway",
    help="Receive Legitmark's webhooks, and deliver each to the sinks that the rules name.",
    version=__version__,
    default_parameter=Parameter(show_default=False),  # that a flag is not given unless it is given needs no word
)
COMMANDS = (
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
for name, module, summary in COMMANDS:
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
