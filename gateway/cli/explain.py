"""Explains to people why an event goes where it goes: each route, its place in the files, its reason. Decides nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from gateway.cli.output import printable, seen_from_here
from gateway.config import Config
from gateway.config.files import read
from gateway.config.location import Place
from gateway.config.positions import Positions
from gateway.config.settings import Rule
from gateway.core.events import Event
from gateway.core.lateness import withheld
from gateway.core.ledger import Facts
from gateway.core.routing import Decision, Router, Trace
from gateway.core.why_not import why_not


class Spot(Struct, frozen=True):
    """A place in a file; line and column are 1-based."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.of_line}:{self.column}"

    @property
    def of_line(self) -> str:
        """`file:line`, with the file relative to the working directory."""
        return printable(f"{seen_from_here(self.file)}:{self.line}")


class Verdict(Struct, frozen=True):
    """The answer of one route to an event, and where the file says so."""

    rule: Rule
    trace: Trace
    spot: Spot
    """Where the route is written."""
    failed: Spot | None
    """Where the condition that failed is written; if a final route stopped this one, where that route says `final`."""
    judged: bool = True
    """False if the event has no facts, so that no condition on a fact can hold."""

    @property
    def name(self) -> str:
        return printable(self.trace.name)

    @property
    def why_not(self) -> str:
        """The condition that failed, with the expected and the actual value; empty if the route applied."""
        return printable(why_not(self.trace, judged=self.judged))


class Explainer:
    """The routes of one configuration, and where its files define them."""

    def __init__(self, config: Config) -> None:
        self._router = Router(config.routes)
        self._suppressing = frozenset(name for name, settings in config.sinks.items() if settings.on_stale == "suppress")
        self._rules = {rule.route.name: rule for rule in config.rules}
        self._positions: dict[Path, Positions] = {}

    def decide(self, event: Event, source: str, facts: Facts | None = None) -> Decision:
        """Return where an event goes, and which sinks suppress it."""
        return withheld(self._router.route(event, source, facts), facts, self._suppressing)

    def waits(self, event: Event, source: str, facts: Facts | None = None) -> dict[str, float]:
        """Return the seconds that an event waits at each sink for the other half of its rejection.

        An event without facts counts as one in good order of the first round.
        """
        told = self.decide(event, source, facts).sinks
        decision = self.decide(event, source, facts or Facts(round=1))
        return {sink: seconds for sink, seconds in decision.waits if sink in told}

    def explain(self, event: Event, source: str, facts: Facts | None = None) -> list[Verdict]:
        """Return the verdict of each route, in the order of the files. Raises ConfigError if a file can no longer be read."""
        return [
            Verdict(rule, trace, self.spot(rule.place), self._spot_of_failure(rule, trace), judged=facts is not None)
            for rule, trace in zip(self._rules.values(), self._router.explain(event, source, facts), strict=True)
        ]

    def spot(self, place: Place, on: Literal["key", "value"] = "key") -> Spot:
        """Return where a key, or its value, stands in its file."""
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
    """Return the place of a pattern; a single pattern may stand without a list around it."""
    return place / number if isinstance(settings, list) else place


def _written(table: dict[str, Any], path: str) -> str | None:
    """Return the path of a condition as its pattern writes it; None if the pattern has no such path.

    `sides.reason` in quotes is one key.
    """
    for key, inner in table.items():
        if key == path or key.startswith(f"{path}."):
            return key
        if path.startswith(f"{key}.") and isinstance(inner, dict) and (rest := _written(inner, path[len(key) + 1 :])):
            return f"{key}.{rest}"
    return None
