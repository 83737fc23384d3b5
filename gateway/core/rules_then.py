"""The rules of a configuration as the store keeps them, so that it can be told later why somebody was, or was not, told. Pure.

A snapshot is JSON: everything that decides where a message goes, and where the files said it. Equal rules have equal snapshots.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.events import Event
from gateway.core.lateness import withheld
from gateway.core.ledger import Facts
from gateway.core.patterns import Pattern, compile_pattern
from gateway.core.routing import Decision, Route, Router


class RouteThen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One route, as it was written."""

    name: str
    sinks: tuple[str, ...]
    match: tuple[dict[str, Any], ...] = ()
    unless: tuple[dict[str, Any], ...] = ()
    sources: tuple[str, ...] = ()
    final: bool = False
    fallback: bool = False
    join: float = 0.0
    """Seconds for which a rejection waits for its other half; 0: it goes out at once."""
    place: str = ""
    """The file and the line, such as `gateway.toml:41`; "" if the line was not known."""


class RulesThen(Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The rules that decided where messages go."""

    routes: tuple[RouteThen, ...]
    suppressing: tuple[str, ...] = ()
    """The sinks with `on_stale = "suppress"`."""

    @cached_property
    def router(self) -> Router:
        """The router that decides by them."""
        return Router(
            [
                Route(
                    name=route.name,
                    sinks=route.sinks,
                    match=tuple(map(_pattern, route.match)),
                    unless=tuple(map(_pattern, route.unless)),
                    sources=route.sources,
                    final=route.final,
                    fallback=route.fallback,
                    join=route.join,
                )
                for route in self.routes
            ]
        )

    @cached_property
    def naming(self) -> dict[str, tuple[str, ...]]:
        """The routes that name each sink."""
        found: dict[str, list[str]] = {}
        for route in self.routes:
            for sink in route.sinks:
                found.setdefault(sink, []).append(route.name)
        return {sink: tuple(names) for sink, names in found.items()}

    def own_events_only(self, source: str) -> dict[str, tuple[str, ...]]:
        """Return the sinks that the gateway's own events can reach and those of another source cannot, each with its routes."""
        asking = {route.name for route in self.router.only_for_own_events(source)}
        return {sink: names for sink, names in self.naming.items() if asking.issuperset(names)}

    @cached_property
    def places(self) -> dict[str, str]:
        """Where each route was written, by its name."""
        return {route.name: route.place for route in self.routes}

    def decide(self, event: Event, source: str, facts: Facts | None) -> Decision:
        """Return where they send an event, and which sinks suppress it."""
        return withheld(self.router.route(event, source, facts), facts, self.suppressing)

    def encode(self) -> bytes:
        """Return the snapshot."""
        # The standard library, because a pattern may ask for a number of any size.
        return json.dumps(msgspec.to_builtins(self), ensure_ascii=False, separators=(",", ":")).encode()


def rules_then(routes: Sequence[Route], places: Sequence[str], suppressing: Collection[str]) -> RulesThen:
    """Describe the rules of a configuration.

    Args:
        places: where each route is written, in the same order.
    """
    return RulesThen(
        routes=tuple(
            RouteThen(
                name=route.name,
                sinks=route.sinks,
                match=tuple(pattern.raw for pattern in route.match),
                unless=tuple(pattern.raw for pattern in route.unless),
                sources=route.sources,
                final=route.final,
                fallback=route.fallback,
                join=route.join,
                place=place,
            )
            for route, place in zip(routes, places, strict=True)
        ),
        suppressing=tuple(sorted(suppressing)),
    )


def read_rules(snapshot: bytes) -> RulesThen:
    """Return the rules of a snapshot. Raises ValueError if it is none."""
    return msgspec.convert(json.loads(snapshot), RulesThen)


def _pattern(raw: dict[str, Any]) -> Pattern:
    pattern, problems = compile_pattern(raw)
    if problems:
        raise ValueError(f"a pattern of the rules of then can't be used: {problems[0].wrong}")
    return pattern
