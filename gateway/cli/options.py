"""The options that several commands share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli.completion import event_names
from gateway.cli.errors import UsageError, complain
from gateway.config import Config, find, load
from gateway.core.instants import parse_instant
from gateway.core.values import EARLIEST, LATEST, Duration
from gateway.host.clock import Clock
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from gateway.observability.logs import Log

EventArgument = Annotated[str, Parameter(allow_leading_hyphen=True, completer=event_names)]
AdminOption = Annotated[
    str | None, Parameter(name="--admin", help='The admin listener: "host:port" or "unix:/path"; default: [admin] listen.')
]
ConfigOption = Annotated[
    Path | None, Parameter(name=["--config", "-c"], help="The configuration file; default: $GATEWAY_CONFIG, ./gateway.toml, ...")
]
SetOption = Annotated[
    list[str] | None, Parameter(name="--set", negative="", help="Change a field first: path=value. Repeatable.")
]
FactOption = Annotated[
    list[str] | None, Parameter(name="--fact", negative="", help="Give the event a fact: stale=true, round=2. Repeatable.")
]
SinceOption = Annotated[str | None, Parameter(name="--since", help='Only since: "2h" ago, "7d", or an RFC 3339 time.')]
UntilOption = Annotated[str | None, Parameter(name="--until", help='Only before: "2h" ago, "7d", or an RFC 3339 time.')]
JsonOption = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON; a list as one line per entry.")]


def configuration(given: Path | None, *, secrets: bool, warn: bool = True, journal: Log | None = None) -> Config:
    """Find and load the configuration, and print its warnings on stderr. Raises ConfigError.

    Args:
        warn: False if the command is not about the rules.
        journal: see `exit_code`.
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


def instant(text: str | None) -> float | None:
    """Return the Unix seconds that `--since` or `--until` means: an RFC 3339 instant, or a span before now. Raises UsageError."""
    if text is None:
        return None
    try:
        return Clock().now() - Duration(text)
    except ValueError:
        pass
    try:
        return min(max(parse_instant(text), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        raise UsageError(f'"{text}" is neither a span such as "2h" nor a time such as "2026-03-01T09:00:00Z"') from None
