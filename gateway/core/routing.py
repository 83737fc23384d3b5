"""Which sinks an event goes to, and why (CONTRACT section 3). Pure; a router is built once per configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gateway.core.events import Event
from gateway.core.patterns import Failure, Pattern

DERIVED_FIELDS = ("milestone", "source")
"""What patterns may name beside the fields of the event. They win over fields of the same name in the body."""


class Route(Struct, frozen=True):
    """One `[[routes]]` rule, compiled."""

    name: str
    sinks: tuple[str, ...]
    match: tuple[Pattern, ...] = ()
    """Any of them; none matches every event."""
    unless: tuple[Pattern, ...] = ()
    sources: tuple[str, ...] = ()
    final: bool = False
    fallback: bool = False


class Decision(Struct, frozen=True):
    sinks: tuple[str, ...]
    """Each once, in the order in which the routes name them."""
    routes: tuple[str, ...]
    """The routes that applied; none: the message is unrouted."""


class Trace(Struct, frozen=True):
    """What one route said to an event."""

    name: str
    matched: bool
    """It applied: its sinks are among the decision's."""
    failed: Failure | None = None
    """Why it did not apply."""


class Router:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    def route(self, event: Event, source: str) -> Decision:
        """Every route that applies, and the union of their sinks."""
        view = _view(event, source)
        applied: list[Route] = []
        closed = False
        for route in self._routes:
            if not route.fallback and not closed and _fits(route, view):
                applied.append(route)
                closed = route.final
        if not applied:
            applied = [route for route in self._routes if route.fallback and _fits(route, view)]
        sinks = dict.fromkeys(sink for route in applied for sink in route.sinks)
        return Decision(sinks=tuple(sinks), routes=tuple(route.name for route in applied))

    def explain(self, event: Event, source: str) -> list[Trace]:
        """What each route said, in the order of the file; agrees with `route` by construction and by test."""
        applied = self.route(event, source).routes
        view = _view(event, source)
        return [
            Trace(route.name, True) if route.name in applied else Trace(route.name, False, self._why_not(route, view, applied))
            for route in self._routes
        ]

    def _why_not(self, route: Route, view: dict[str, Any], applied: tuple[str, ...]) -> Failure:
        if (failure := _failure(route, view)) is not None:
            return failure
        if route.fallback:
            return Failure("fallback", "no other route matched", applied[0])
        closing = next(other.name for other in self._routes if other.final and other.name in applied)
        return Failure("final", "no final route before it matched", closing)


def _view(event: Event, source: str) -> dict[str, Any]:
    return {**event.values, "milestone": event.milestone.value, "source": source}


def _fits(route: Route, view: dict[str, Any]) -> bool:
    return (
        (not route.sources or view["source"] in route.sources)
        and (not route.match or any(pattern.matches(view) for pattern in route.match))
        and not any(pattern.matches(view) for pattern in route.unless)
    )


def _failure(route: Route, view: dict[str, Any]) -> Failure | None:
    if route.sources and view["source"] not in route.sources:
        return Failure("source", list(route.sources), view["source"])
    failures = [pattern.failure(view) for pattern in route.match]
    if failures and all(failures):
        return failures[0]
    if any(pattern.matches(view) for pattern in route.unless):
        return Failure("unless", "no match", "a match")
    return None
