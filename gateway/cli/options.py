"""The options that several commands share, and what their values stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli.completion import event_names
from gateway.cli.errors import UsageError, complain
from gateway.config import Config, find, load
from gateway.core.instants import parse_instant
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.host.environment import Environment

if TYPE_CHECKING:
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
