"""Measures the microseconds of routing one event by 200 routes: the median of the events of a round.

There are two sets of routes: as partners write them (most ask for the type or the milestone, some for more), and the worst case,
in which no route can be settled by source, type and milestone alone, and none is final. A third figure is for information: the
worst case with each event of a type that the router never saw.
"""

from __future__ import annotations

import statistics
import time
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.events import Event, event_of
from gateway.core.patterns import compile_pattern
from gateway.core.routing import Route, Router
from gateway.core.samples import SAMPLES
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

EVENTS, ROUTES = 1000, 200
NEW_EVENTS = 100
"""Events of new types, each of which takes ten times as long."""
SOURCES = ("legitmark", "legitmark_eu")

REALISTIC = (
    'match = { milestone = ["authentic", "counterfeit"] }',
    'match = { event_type = "state_change", state = { primary = "COMPLETE", supplement = "REJECTED" } }',
    'match = { event_type = "media_rejected" }',
    'match = { event_type = "media_rejected", sides = { side = "Front", reason = { prefix = "B" } } }',
    'match = { milestone = "needs_resubmission", reference_id = { prefix = "BAG-NUMBER-" } }',
    'match = [{ milestone = "authentic" }, { event_type = "invalidate_sr", "invalidation_reason.code" = { not = "CANCELLED" } }]',
    'match = { event_type = { prefix = "state" }, reference_id = { glob = "SNK-*-EUNUMBER" } }\nunless = { milestone = "draft" }',
    'source = "legitmark_eu"\nmatch = { milestone = "counterfeit" }',
    'unless = { event_type = ["state_change", "media_rejected"] }',
    'match = { reference_id = { regex = "(BAG|SNK)-NUMBER[0-9]+" } }',
)
WORST = (
    'match = { reference_id = { prefix = "BAG-NUMBER-" } }',
    'match = { reference_id = { suffix = "-NUMBER" } }',
    'match = { reference_id = { glob = "SNK-*-EUNUMBER" } }',
    'match = { reference_id = { regex = "(BAG|SNK)-NUMBER[0-9]+" } }',
    'match = { sr_uuid = ["a-NUMBER", "b-NUMBER", "c-NUMBER"] }',
    'match = { "state.primary" = { not = "COMPLETE" }, "item.price" = { gte = NUMBER } }',
    'match = { sides = { side = "Side NUMBER", reason = { ignore_case = "blurry" } } }',
    'match = [{ "item.kind" = "NUMBER" }, { reference_id = { exists = false } }]',
    'match = { sr_uuid = { exists = true } }\nunless = { reference_id = { prefix = "x-NUMBER" } }',
    'match = { timestamp = { prefix = "2026-NUMBER" }, state = { primary = "QC" } }',
)


def figures(bench: Bench) -> Iterator[Figure]:
    """Microseconds to route one event; nothing runs beside it."""
    known, new = events(EVENTS, new_types=False), events(NEW_EVENTS, new_types=True)
    for name, rules, arriving in (
        ("as partners write them", REALISTIC, known),
        ("the worst case", WORST, known),
        ("the worst case, each event of a new type", WORST, new),
    ):
        router = Router(routes(rules, ROUTES))
        rounds = [statistics.median(measure(router, arriving)) for _ in range(bench.size.rounds)]
        yield Figure(name=f"routing by {ROUTES} routes, {name}", unit="us", samples=rounds)


def measure(router: Router, arriving: Sequence[Event]) -> list[float]:
    """Microseconds for each event."""
    taken = []
    for number, event in enumerate(arriving):
        source = SOURCES[number % len(SOURCES)]
        started = time.perf_counter_ns()
        router.route(event, source)
        taken.append((time.perf_counter_ns() - started) / 1000)
    return taken


def routes(rules: Sequence[str], count: int) -> list[Route]:
    """So many routes, no two alike: NUMBER in a rule becomes the route's number."""
    written = [rules[number % len(rules)].replace("NUMBER", str(number + 10)) for number in range(count)]
    return [_route(number, tomllib.loads(text)) for number, text in enumerate(written)]


def events(count: int, *, new_types: bool) -> list[Event]:
    """The samples in turn, each of an id and a reference of its own, and of a type of its own if asked for."""
    samples = list(SAMPLES.values())
    found = []
    for number in range(count):
        values = {**samples[number % len(samples)], "sr_uuid": f"sr-{number}", "reference_id": f"SNK-{number}-EU{number % 50}"}
        found.append(event_of({**values, "event_type": f"new_{number}"} if new_types else values))
    return found


def _route(number: int, rule: dict[str, Any]) -> Route:
    return Route(
        name=f"route {number}",
        sinks=(f"sink_{number % 20}",),
        match=tuple(compile_pattern(table)[0] for table in _tables(rule.get("match"))),
        unless=tuple(compile_pattern(table)[0] for table in _tables(rule.get("unless"))),
        sources=(rule["source"],) if "source" in rule else (),
        fallback=number % 50 == 49,
    )


def _tables(raw: Any) -> list[dict[str, Any]]:
    return [raw] if isinstance(raw, dict) else raw or []
