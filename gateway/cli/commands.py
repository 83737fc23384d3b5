"""The list of all commands. Each is imported only when it runs: `gateway --help` imports none of them."""

from __future__ import annotations

import sys

from cyclopts import App, Parameter

from gateway import __version__

app = App(
    name="gateway",
    help="Receive Legitmark's webhooks, and deliver each to the sinks that the routes name.",
    version=__version__,
    default_parameter=Parameter(show_default=False),  # a flag that is off by default needs no mention of it
)
COMMANDS = (
    ("serve", "serve", "Receive webhooks and deliver them."),
    ("demo", "demo", "Run the gateway with four local sinks and a story of signed events."),
    ("play", "play", "Show every request that comes to a port, and why its signature fits or not."),
    ("init", "init", "Write a commented configuration to start from."),
    ("check", "check", "Check a configuration, and report every problem at once."),
    ("route", "route", "Show where an event would go, and why. Send nothing."),
    ("test", "test", "Run the [[tests]] of a configuration."),
    ("send", "send", "Sign an event as Legitmark would, and post it to the gateway."),
    ("status", "status", "Show the state of the running gateway, and what needs a person."),
    ("sr", "sr", "Show what a service request went through, who was told, and who was not and why."),
    ("srs", "sr", "List service requests by state, flag or stall."),
    ("messages", "browse", "List the messages that were received."),
    ("show", "browse", "Show the whole story of a message or a service request."),
    ("deliveries", "browse", "List deliveries with their states."),
    ("replay", "replay", "Deliver again: dead deliveries, or messages to a new sink."),
    ("discard", "replay", "Give up queued or dead deliveries for good."),
    ("pause", "pause", "Hold all deliveries to a sink."),
    ("resume", "pause", "Deliver to a paused sink again."),
    ("drill", "drill", "Send a message marked [TEST] through a sink, and show the answer."),
    ("reload", "reload", "Make the running gateway read its configuration again."),
    ("reverify", "reverify", "Accept requests that were refused while a secret was wrong."),
    ("redecode", "redecode", "Apply what this version knows to messages that were not understood."),
    ("reconcile", "reconcile", "Ask Legitmark's API for the state of service requests, and tell what differs."),
    ("backtest", "backtest", "Show what other routes would have done with past messages."),
    ("tail", "tail", "Print the audit log for people; -f follows it."),
    ("completion", "completion", "Print the completion script for bash, zsh or fish."),
)
for name, module, summary in COMMANDS:
    # A command's own help is its docstring; the list of all commands shows this summary, and need not import them.
    about = {} if name in sys.argv[1:2] else {"help": summary}
    app.command(f"gateway.cli.{module}:{name}", name=name, **about)

evidence = App(name="evidence", help="Prove what came and what became of it, and check the proof and the audit log.")
app.command(evidence)
for name, summary in (
    ("export", "Write a file that proves what came, and what became of it."),
    ("verify", "Check a file of evidence, offline, from the file alone."),
    ("audit", "Check the whole audit log against its seals."),
):
    about = {} if ["evidence", name] == sys.argv[1:3] else {"help": summary}
    evidence.command(f"gateway.cli.evidence:{name}", name=name, **about)

db = App(name="db", help="Back up the database, check it, or bring it up.")
app.command(db)
for name, summary in (
    ("backup", "Copy the database into a file while the gateway runs."),
    ("check", "Read the whole database or a backup, and report what is wrong."),
    ("migrate", "Bring the schema in a PostgreSQL up, before the gateways start."),
):
    about = {} if ["db", name] == sys.argv[1:3] else {"help": summary}
    db.command(f"gateway.cli.db:{name}", name=name, **about)
