"""Why an event goes where it goes: each route with its place in the files, in words for people. Decides nothing itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from gateway.cli.output import printable, working_directory
from gateway.config import Config
from gateway.config.files import read
from gateway.config.location import Place
from gateway.config.positions import Positions
from gateway.config.settings import Rule
from gateway.core.events import Event
from gateway.core.routing import Router, Trace

_LONGEST = 300
"""Characters of a value in a line for people."""


class Spot(Struct, frozen=True):
    """A character of a file; line and column are 1-based."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.of_line}:{self.column}"

    @property
    def of_line(self) -> str:
        """`file:line`; the file as one would name it from here."""
        here = working_directory()
        file = self.file.relative_to(here) if here is not None and self.file.is_relative_to(here) else self.file
        return printable(f"{file}:{self.line}")


class Verdict(Struct, frozen=True):
    """What one route said to an event, and where that is written."""

    rule: Rule
    trace: Trace
    spot: Spot
    """Where the route is written."""
    failed: Spot | None
    """Where the condition that failed is written; for a route that a final one stopped, where the word `final` of that one is."""

    @property
    def name(self) -> str:
        return printable(self.trace.name)

    @property
    def why_not(self) -> str:
        """The condition that failed with both values; empty where the route applied."""
        failed = self.trace.failed
        if failed is None:
            return ""
        match self.trace.keys[0]:
            case "final":
                return printable(f'final: "{failed.actual}" before it is final, and matched')
            case "fallback":
                return printable(f'fallback: "{failed.actual}" matched')
            case "unless":
                found = ", ".join(f"{path} is {_shown(value)}" for path, value in failed.actual.items())
                return printable(f"unless: {_shown(failed.expected['not'])} matches: {found}")
            case _:
                actual = "absent" if failed.actual is None else _shown(failed.actual)
                return printable(f"{failed.path}: expected {_shown(failed.expected)}, is {actual}")


class Explainer:
    def __init__(self, config: Config) -> None:
        self.router = Router(config.routes)
        self._rules = {rule.route.name: rule for rule in config.rules}
        self._positions: dict[Path, Positions] = {}

    def explain(self, event: Event, source: str) -> list[Verdict]:
        """What each route said, in the order of the files. Raises ConfigError where a file can no longer be read."""
        return [
            Verdict(rule, trace, self.spot(rule.place), self._spot_of_failure(rule, trace))
            for rule, trace in zip(self._rules.values(), self.router.explain(event, source), strict=True)
        ]

    def spot(self, place: Place, on: Literal["key", "value"] = "key") -> Spot:
        """Where something stands in its file."""
        if place.file not in self._positions:
            self._positions[place.file] = Positions(read(place.file).text)
        span = self._positions[place.file].find(place.keys, on)
        return Spot(place.file, span.line, span.column)

    def _spot_of_failure(self, rule: Rule, trace: Trace) -> Spot | None:
        if trace.failed is None:
            return None
        match trace.keys:
            case ("final",):
                return self.spot(self._rules[trace.failed.actual].place / "final")
            case ("match", int(number), str(path)):
                place = _element(rule.place / "match", rule.settings.match, number)
                return self.spot(place / (_written(rule.route.match[number].raw, path) or path))
            case ("unless", int(number)):
                return self.spot(_element(rule.place / "unless", rule.settings.unless, number), "value")
            case (key, *_):
                return self.spot(rule.place / key)
            case _:
                return None


def _element(place: Place, settings: object, number: int) -> Place:
    """One pattern; where it is the only one, it may stand without a list around it."""
    return place / number if isinstance(settings, list) else place


def _written(table: dict[str, Any], path: str) -> str | None:
    """The path of a condition as its pattern writes it: `sides.reason` in quotes is one key, and `sides` alone is none."""
    for key, inner in table.items():
        if key == path or key.startswith(f"{path}."):
            return key
        if path.startswith(f"{key}.") and isinstance(inner, dict) and (rest := _written(inner, path[len(key) + 1 :])):
            return f"{key}.{rest}"
    return None


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "something nested very deeply"
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
