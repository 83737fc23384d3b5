"""Decides which sinks an event goes to, and why (docs/reference.md, "Routing"). Pure; one router per configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct, structs

from gateway.core.conditions import Mismatch
from gateway.core.events import Event, Milestone
from gateway.core.fact_fields import with_facts
from gateway.core.joins import LONGEST_JOIN, REJECTION, may_wait
from gateway.core.ledger import Facts
from gateway.core.patterns import Pattern

GATEWAY = "gateway"
"""The source of the gateway's own events. No configured source may have this name."""
RECONCILE = "reconcile"
"""The source of events that were made from an answer of Legitmark's API, which no sender signed. No configured source may have
this name."""
DERIVED_FIELDS = ("milestone", "source")
"""The derived fields that every event has, beside the facts. They win over fields of the same name in the body."""


_NOT_ASKED = "a source that the route asks for by name"
"""The expected value in the trace of a route that does not ask for the gateway's own events."""
_MOST_KINDS = 256
"""How many kinds of events (source, type, milestone) are remembered. The sender chooses the types, so this is bounded."""


_MOST_KINDS_OF_A_ROUTE = 64
_LONGEST_TYPE = 100
"""The longest type that is remembered, in characters."""


class Route(Struct, frozen=True):
    """One `[[routes]]` rule, compiled."""

    name: str
    sinks: tuple[str, ...]
    match: tuple[Pattern, ...] = ()
    """The route matches if any of these does; without patterns it matches every event."""
    unless: tuple[Pattern, ...] = ()
    sources: tuple[str, ...] = ()
    final: bool = False
    fallback: bool = False
    join: float = 0.0
    """Seconds for which a rejection waits for its other half (`joins`); 0: it goes out at once."""

    def for_own_events(self) -> Route | None:
        """Return the route as the gateway's own events meet it; None if it never asks for their source.

        A route asks for it by `source`, or by a condition on `source` in `match`. Of a list of patterns, only those with such a
        condition count (docs/reference.md, "Routing").
        """
        if self.sources:
            return self if GATEWAY in self.sources else None
        asking = tuple(pattern for pattern in self.match if pattern.asks_about("source"))
        return structs.replace(self, match=asking) if asking else None


class Decision(Struct, frozen=True):
    sinks: tuple[str, ...]
    """Each sink once, in the order in which the routes name them."""
    routes: tuple[str, ...]
    """The routes that applied; if there are none, the message is unrouted."""
    suppressed: tuple[str, ...] = ()
    """Sinks that the routes name and that are not told, because the event is late (`lateness.withheld`)."""
    waits: tuple[tuple[str, float], ...] = ()
    """Sinks at which the event may wait for the other half of its rejection, each with the seconds (`joins`)."""


class Trace(Struct, frozen=True):
    """The result of one route for an event."""

    name: str
    matched: bool
    """The route applied, and its sinks belong to the decision."""
    failed: Mismatch | None = None
    """The condition that failed; None if the route applied."""
    keys: tuple[str | int, ...] = ()
    """The keys of that condition in the table of the route: ("match", 0, "state.primary"), where 0 counts the patterns;
    ("unless", 0), ("source",), ("fallback",). ("final",) is the key of the route that `failed.actual` names.
    """


Asking = tuple[tuple[Route, Callable[[dict[str, Any]], bool]], ...]
"""Routes, each with a function that tells if it applies."""
_Kind = tuple[str, str | None, Milestone]
"""The source, the type and the milestone of an event."""


class _Known:
    """A route with the facts that were found out about it. They stay true for as long as the route does."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.all: Asking = ((route, _question(route)),)
        asking = route.for_own_events()
        self.own: Asking = () if asking is None else ((asking, _question(asking)),)
        """The condition as the gateway's own events meet it."""
        self._for_kind: dict[_Kind, Asking] = {}

    def given(self, kind: _Kind, known: dict[str, Any]) -> Asking:
        """The part of the condition that is not known yet, by kind of event; empty if the route cannot apply."""
        left = self._for_kind.get(kind)
        if left is None:
            if len(self._for_kind) >= _MOST_KINDS_OF_A_ROUTE:
                self._for_kind.clear()
            asking = self.own if kind[0] == GATEWAY else self.all
            found = (_given(route, known) for route, _ in asking)
            left = self._for_kind[kind] = tuple((route, _question(route)) for route in found if route is not None)
        return left


class Router:
    """Decides for one configuration."""

    def __init__(self, routes: Sequence[Route], before: Router | None = None) -> None:
        """
        Args:
            before: the router until now. Routes that stay bring along the facts that it found out.
        """
        known = {} if before is None else {id(one.route): one for one in before._known}
        self._routes = tuple(routes)
        self._known: tuple[_Known, ...] = tuple(known.get(id(route)) or _Known(route) for route in self._routes)
        self._given: dict[_Kind, Decision | Asking] = {}

    @property
    def sinks(self) -> dict[str, tuple[str, ...]]:
        """The sinks that each route names."""
        return {route.name: route.sinks for route in self._routes}

    def only_for_own_events(self, source: str) -> list[Route]:
        """Return the routes that ask for the gateway's own events, and that no event of another source can take."""
        return [one.route for one in self._known if one.own and _given(one.route, {"source": source}) is None]

    def route(self, event: Event, source: str, facts: Facts | None = None) -> Decision:
        """Return every route that applies, and the union of their sinks.

        Args:
            facts: what is known of the event; None if it was not judged, and then no fact has a value.
        """
        event_type = event.values.get("event_type")
        if event_type is not None and (not isinstance(event_type, str) or len(event_type) > _LONGEST_TYPE):
            return _decide(self._asking(source), _view(event, source, facts))
        kind = (source, event_type, event.milestone)
        given = self._given.get(kind)
        if given is None:
            if len(self._given) >= _MOST_KINDS:
                self._given.clear()
            given = self._given[kind] = self._for_kind(kind)
        decision = given if isinstance(given, Decision) else _decide(given, _view(event, source, facts))
        return structs.replace(decision, waits=()) if decision.waits and not may_wait(facts) else decision

    def _for_kind(self, kind: _Kind) -> Decision | Asking:
        """Return the routes that may apply to this kind of event, without the conditions that hold anyway; or the decision.

        Most rules ask for nothing else, so most events cost one look-up, however many rules there are.
        """
        source, event_type, milestone = kind
        known = {"source": source, "event_type": event_type, "milestone": milestone.value}
        routes = tuple(chain.from_iterable([one.given(kind, known) for one in self._known]))
        settled = not any(route.match or route.unless for route, _ in routes)
        return _decide(routes, known) if settled else routes

    def _asking(self, source: str) -> Asking:
        """Return the routes that events of a source may take."""
        return tuple(chain.from_iterable([one.own if source == GATEWAY else one.all for one in self._known]))

    def explain(self, event: Event, source: str, facts: Facts | None = None, only: Collection[str] | None = None) -> list[Trace]:
        """Return the result of each route, in the order of the file. It agrees with `route` by construction and by test.

        Args:
            only: the names of the routes that are asked about; None means all.
        """
        applied = self.route(event, source, facts).routes
        view = _view(event, source, facts)
        return [
            Trace(route.name, True) if route.name in applied else self._why_not(route, view, applied)
            for route in self._routes
            if only is None or route.name in only
        ]

    def _why_not(self, route: Route, view: dict[str, Any], applied: tuple[str, ...]) -> Trace:
        if (trace := _failure(route, view)) is not None:
            return trace
        if route.fallback:
            return Trace(route.name, False, Mismatch("fallback", "no other route matched", applied[0]), ("fallback",))
        closing = next(other.name for other in self._routes if other.final and other.name in applied)
        return Trace(route.name, False, Mismatch("final", "no final route before it matched", closing), ("final",))


def _decide(routes: Asking, view: dict[str, Any]) -> Decision:
    applied: list[Route] = []
    for route, fits in routes:
        if not route.fallback and fits(view):
            applied.append(route)
            if route.final:
                break
    if not applied:
        applied = [route for route, fits in routes if route.fallback and fits(view)]
    sinks = dict.fromkeys(sink for route in applied for sink in route.sinks)
    # What the gateway made itself never waits: nobody signed it, so it is told apart from what a sender signed.
    joined = view["milestone"] in REJECTION and view["source"] not in (GATEWAY, RECONCILE)
    return Decision(tuple(sinks), tuple(route.name for route in applied), waits=_waits(applied) if joined else ())


def _waits(routes: Sequence[Route]) -> tuple[tuple[str, float], ...]:
    """Return the sinks of some routes at which a rejection waits for its other half, each with the seconds.

    If several routes name a sink, the shortest wait counts; a route without `join` does not let it wait.
    """
    if not any(route.join for route in routes):
        return ()
    waits: dict[str, float] = {}
    for route in routes:
        for sink in route.sinks:
            waits[sink] = min(waits.get(sink, LONGEST_JOIN), route.join)
    return tuple((sink, seconds) for sink, seconds in waits.items() if seconds > 0)


def _question(route: Route) -> Callable[[dict[str, Any]], bool]:
    """Return a function that tells if a route applies. For a single pattern it is the pattern: each call counts."""
    if len(route.match) == 1 and not route.unless and not route.sources:
        return route.match[0].matches
    any_of, none_of = (tuple(pattern.matches for pattern in patterns) for patterns in (route.match, route.unless))

    def fits(view: dict[str, Any]) -> bool:
        if route.sources and view["source"] not in route.sources:
            return False
        for matches in any_of:  # loops: a generator costs more than most patterns
            if matches(view):
                break
        else:
            if any_of:
                return False
        for matches in none_of:  # noqa: SIM110 (as above)
            if matches(view):
                return False
        return True

    return fits


def may_apply(route: Route, known: dict[str, Any]) -> bool:
    """Return True if a route can apply to some event with these values in `source`, `event_type` and `milestone`."""
    asking = route.for_own_events() if known["source"] == GATEWAY else route
    return asking is not None and _given(asking, known) is not None


def _given(route: Route, known: dict[str, Any]) -> Route | None:
    """Return the part of a route that is not known yet, for events with these known fields; None if the route cannot apply."""
    if route.sources and known["source"] not in route.sources:
        return None
    match = [pattern.given(known) for pattern in route.match]
    if route.match and not any(match):
        return None
    unless = [pattern.given(known) for pattern in route.unless]
    if True in unless:
        return None
    return structs.replace(
        route,
        match=() if True in match else tuple(left for left in match if isinstance(left, Pattern)),
        unless=tuple(left for left in unless if isinstance(left, Pattern)),
        sources=(),
    )


def _view(event: Event, source: str, facts: Facts | None) -> dict[str, Any]:
    view = with_facts(event.values, facts)
    view["milestone"], view["source"] = event.milestone.value, source
    return view


def _failure(route: Route, view: dict[str, Any]) -> Trace | None:
    """Return why a route does not apply; of several patterns, the reason of the nearest one."""
    if route.sources and view["source"] not in route.sources:
        return Trace(route.name, False, Mismatch("source", list(route.sources), view["source"]), ("source",))
    patterns = dict(enumerate(route.match))
    if view["source"] == GATEWAY and not route.sources:
        patterns = {number: pattern for number, pattern in patterns.items() if pattern.asks_about("source")}
        if not patterns:
            return Trace(route.name, False, Mismatch("source", _NOT_ASKED, GATEWAY), ("source",))
    failures = {number: pattern.failure(view) for number, pattern in patterns.items()}
    if failures and all(failures.values()):
        number = max(failures, key=lambda at: route.match[at].nearness(view))
        nearest = failures[number]
        return Trace(route.name, False, nearest, ("match", number, nearest.path if nearest else ""))
    for number, pattern in enumerate(route.unless):
        if pattern.matches(view):
            failure = Mismatch("unless", {"not": pattern.raw}, pattern.values(view))
            return Trace(route.name, False, failure, ("unless", number))
    return None
