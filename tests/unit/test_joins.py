"""Which events wait for the other half of their rejection, at which sinks, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.events import event_of
from gateway.core.joins import may_wait
from gateway.core.ledger import Facts
from gateway.core.patterns import compile_pattern
from gateway.core.routing import GATEWAY, RECONCILE, Route, Router
from gateway.core.samples import SAMPLES

IN_TIME = Facts(round=1)


def route(name: str, *sinks: str, join: float = 30.0, match: dict[str, Any] | None = None, final: bool = False) -> Route:
    patterns = () if match is None else (compile_pattern(match)[0],)
    return Route(name, sinks, patterns, join=join, final=final)


def waits(
    *routes: Route, event: str = "qc_rejected", source: str = "legitmark", facts: Facts | None = IN_TIME
) -> tuple[tuple[str, float], ...]:
    router = Router(routes)
    found = {router.route(event_of(SAMPLES[event]), source, facts).waits for _ in range(2)}  # the second time from memory
    (once,) = found
    return once


@pytest.mark.parametrize("name", SAMPLES)
def test_only_the_two_events_of_a_rejection_wait(name: str) -> None:
    halves = ("qc_rejected", "needs_resubmission")
    assert bool(waits(route("all", "desk"), event=name)) == name.startswith(halves)


def test_of_several_routes_to_a_sink_the_shortest_wait_counts_and_none_means_none() -> None:
    long, short = route("long", "desk", "mail", join=60.0), route("short", "desk", join=10.0)
    assert dict(waits(long, short)) == dict(waits(short, long)) == {"desk": 10.0, "mail": 60.0}
    assert dict(waits(long, short, route("plain", "mail", join=0.0))) == {"desk": 10.0}
    assert waits(route("plain", "desk", join=0.0)) == ()


def test_a_route_that_does_not_apply_lets_nothing_wait_and_nothing_go() -> None:
    other = route("other", "desk", join=0.0, match={"milestone": "authentic"})
    assert waits(route("all", "desk"), other) == (("desk", 30.0),)
    assert waits(other, route("media", "desk", match={"milestone": "needs_resubmission"})) == ()
    assert waits(route("first", "desk", final=True), route("all", "desk", join=0.0)) == (("desk", 30.0),)


@pytest.mark.parametrize("source", [GATEWAY, RECONCILE])
def test_what_the_gateway_made_itself_waits_for_nothing(source: str) -> None:
    asks = route("all", "desk", match={"source": source})
    assert Router([asks]).route(event_of(SAMPLES["qc_rejected"]), source, IN_TIME).sinks == ("desk",)
    assert waits(asks, source=source) == ()


@pytest.mark.parametrize("facts", [None, Facts(), Facts(round=0), Facts(round=2, stale=True)], ids=str)
def test_an_event_without_a_round_and_a_late_one_wait_for_nothing(facts: Facts | None) -> None:
    assert not may_wait(facts)
    assert waits(route("all", "desk"), facts=facts) == ()
    assert waits(route("by fact", "desk", match={"round": {"exists": True}}), facts=facts) == ()


def test_a_condition_on_a_fact_leaves_the_wait() -> None:
    assert waits(route("by fact", "desk", match={"round": {"gte": 2}}), facts=Facts(round=2)) == (("desk", 30.0),)
