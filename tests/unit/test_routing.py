"""Routing: the routes that apply and their sinks, and the agreement between `explain` and `route`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.conditions import Mismatch
from gateway.core.events import Event, Undecodable, decode, event_of
from gateway.core.patterns import Pattern, compile_pattern
from gateway.core.routing import Decision, Route, Router, Trace


def pattern(table: dict[str, Any]) -> Pattern:
    compiled, problems = compile_pattern(table)
    assert not problems
    return compiled


def route(
    name: str,
    *sinks: str,
    match: Iterable[dict[str, Any]] = (),
    unless: Iterable[dict[str, Any]] = (),
    sources: tuple[str, ...] = (),
    final: bool = False,
    fallback: bool = False,
) -> Route:
    return Route(
        name=name,
        sinks=sinks,
        match=tuple(map(pattern, match)),
        unless=tuple(map(pattern, unless)),
        sources=sources,
        final=final,
        fallback=fallback,
    )


COUNTERFEIT = event_of(
    {
        "event_type": "state_change",
        "sr_uuid": "sr-1",
        "reference_id": "BAG-1",
        "state": {"primary": "COMPLETE", "supplement": "REJECTED"},
    }
)
YES: list[dict[str, Any]] = [{"milestone": "counterfeit"}]
NO: list[dict[str, Any]] = [{"milestone": "authentic"}]


def decision(*routes: Route, event: Event = COUNTERFEIT, source: str = "legitmark") -> Decision:
    return Router(routes).route(event, source)


def explained(*routes: Route, event: Event = COUNTERFEIT, source: str = "legitmark") -> list[Trace]:
    return Router(routes).explain(event, source)


def test_every_matching_route_applies() -> None:
    found = decision(route("a", "x", match=YES), route("b", "y", match=NO), route("c", "z", match=YES))
    assert found == Decision(sinks=("x", "z"), routes=("a", "c"))


def test_a_message_goes_to_the_union_of_the_sinks_each_once_in_the_order_of_the_routes() -> None:
    found = decision(route("a", "z", "x"), route("b", "x", "y", "z"), route("c", "w", "w"))
    assert found == Decision(sinks=("z", "x", "y", "w"), routes=("a", "b", "c"))


def test_a_route_without_a_match_takes_everything() -> None:
    assert decision(route("all", "x")).sinks == ("x",)
    assert decision(route("all", "x"), event=event_of({})).sinks == ("x",)


def test_a_list_of_tables_matches_when_any_of_them_does() -> None:
    assert decision(route("a", "x", match=NO + YES)).routes == ("a",)
    assert decision(route("a", "x", match=[*NO, {"sr_uuid": "sr-2"}])).routes == ()


def test_unless_excludes_events_that_match_includes() -> None:
    assert decision(route("a", "x", match=YES, unless=[{"reference_id": {"prefix": "BAG"}}])).routes == ()
    assert decision(route("a", "x", match=YES, unless=[{"reference_id": {"prefix": "SNK"}}])).routes == ("a",)


def test_any_of_several_unless_tables_is_enough() -> None:
    assert decision(route("a", "x", unless=NO + YES)).routes == ()
    assert decision(route("a", "x", unless=NO + NO)).routes == ("a",)


def test_unless_works_without_match() -> None:
    assert decision(route("a", "x", unless=YES)).routes == ()
    assert decision(route("a", "x", unless=NO)).routes == ("a",)


def test_a_source_restricts_a_route() -> None:
    routes = [route("a", "x", sources=("shop",)), route("b", "y", sources=("legitmark", "shop")), route("c", "z")]
    assert decision(*routes, source="legitmark").routes == ("b", "c")
    assert decision(*routes, source="shop").routes == ("a", "b", "c")
    assert decision(*routes, source="other").routes == ("c",)


def test_a_source_and_a_match_both_have_to_hold() -> None:
    assert decision(route("a", "x", match=NO, sources=("legitmark",))).routes == ()
    assert decision(route("a", "x", match=YES, sources=("shop",))).routes == ()


# Derived fields.


def test_milestone_and_source_are_fields_of_a_pattern() -> None:
    assert decision(route("a", "x", match=[{"milestone": ["counterfeit", "cancelled"], "source": "legitmark"}])).routes == ("a",)
    assert decision(route("a", "x", match=[{"source": {"not": "legitmark"}}])).routes == ()
    assert decision(route("a", "x", match=[{"source": "shop"}]), source="shop").routes == ("a",)


def test_the_body_cannot_fake_a_milestone_or_a_source() -> None:
    liar = event_of({"event_type": "x", "milestone": "authentic", "source": "vip"})
    assert decision(route("a", "x", match=[{"milestone": "authentic"}]), event=liar).routes == ()
    assert decision(route("a", "x", match=[{"source": "vip"}]), event=liar).routes == ()
    assert decision(route("a", "x", match=[{"milestone": "unrecognized", "source": "legitmark"}]), event=liar).routes == ("a",)


def test_routing_does_not_change_the_event() -> None:
    before = dict(COUNTERFEIT.values)
    explained(route("a", "x", match=YES))
    assert COUNTERFEIT.values == before
    assert "milestone" not in COUNTERFEIT.values


# final, fallback, an empty list of sinks, unrouted.


def test_final_stops_later_routes() -> None:
    found = decision(route("a", "x"), route("b", "y", match=YES, final=True), route("c", "z"), route("d", "w", final=True))
    assert found == Decision(sinks=("x", "y"), routes=("a", "b"))


def test_a_final_route_that_does_not_match_stops_nothing() -> None:
    assert decision(route("a", "x", match=NO, final=True), route("b", "y")).routes == ("b",)
    assert decision(route("a", "x", unless=YES, final=True), route("b", "y")).routes == ("b",)
    assert decision(route("a", "x", sources=("shop",), final=True), route("b", "y")).routes == ("b",)


def test_fallbacks_apply_only_when_no_other_route_matched() -> None:
    fallback = route("f", "care", fallback=True)
    assert decision(fallback, route("a", "x", match=YES)).routes == ("a",)
    assert decision(fallback, route("a", "x", match=NO)).routes == ("f",)


def test_all_matching_fallbacks_apply_wherever_they_stand() -> None:
    found = decision(
        route("f1", "x", fallback=True),
        route("a", "y", match=NO),
        route("f2", "z", match=NO, fallback=True),
        route("f3", "w", match=YES, fallback=True),
    )
    assert found == Decision(sinks=("x", "w"), routes=("f1", "f3"))


def test_final_on_a_fallback_does_not_stop_other_fallbacks_nor_plain_routes() -> None:
    first = route("f1", "x", fallback=True, final=True)
    assert decision(first, route("f2", "y", fallback=True)).routes == ("f1", "f2")
    assert decision(first, route("a", "y"), route("f2", "z", fallback=True)).routes == ("a",)


def test_a_route_without_sinks_counts_as_matched() -> None:
    assert decision(route("drop", match=YES), route("f", "x", fallback=True)) == Decision(sinks=(), routes=("drop",))
    assert decision(route("drop", match=YES), route("a", "x")) == Decision(sinks=("x",), routes=("drop", "a"))
    assert decision(route("drop", match=YES, final=True), route("a", "x")) == Decision(sinks=(), routes=("drop",))


def test_a_fallback_without_sinks_counts_as_matched() -> None:
    assert decision(route("f", fallback=True)) == Decision(sinks=(), routes=("f",))


def test_a_message_that_no_route_matches_is_unrouted() -> None:
    assert decision(route("a", "x", match=NO), route("f", "y", match=NO, fallback=True)) == Decision(sinks=(), routes=())
    assert decision() == Decision(sinks=(), routes=())


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_an_event_of_any_depth_can_be_routed_and_explained(depth: int) -> None:
    # Promise 2: intake routes before it stores, so an exception here loses an authentic message.
    deep = decode(b'{"reference_id": ' + b"[" * depth + b"]" * depth + b"}")
    if isinstance(deep, Undecodable):
        assert depth > 100
        return
    routes = [route("a", "x", match=[{"reference_id": {"prefix": "BAG"}}]), route("f", "y", fallback=True)]
    assert decision(*routes, event=deep).routes == ("f",)
    assert [trace.matched for trace in explained(*routes, event=deep)] == [False, True]


# explain.


def test_explain_lists_every_route_in_the_order_of_the_file() -> None:
    traces = explained(
        route("a", "x", match=YES, final=True),
        route("b", "x", match=[{"state": {"supplement": "APPROVED"}}]),
        route("c", "x", match=YES),
        route("d", "x", sources=("shop",)),
        route("e", "x", unless=YES),
        route("f", "x", fallback=True),
    )
    assert [(trace.name, trace.matched) for trace in traces] == [("a", True)] + [(name, False) for name in "bcdef"]
    first, b, c, d, e, f = (trace.failed for trace in traces)
    assert first is None
    assert b == Mismatch("state.supplement", "APPROVED", "REJECTED")
    assert c is not None
    assert (c.path, c.actual) == ("final", "a")
    assert d == Mismatch("source", ["shop"], "legitmark")
    assert e is not None
    assert e.path == "unless"
    assert f is not None
    assert (f.path, f.actual) == ("fallback", "a")


def test_explain_shows_a_pattern_that_does_not_fit_before_a_final_route_that_hides_it() -> None:
    (_, hidden) = explained(route("a", "x", final=True), route("b", "y", match=NO))
    assert hidden.failed == Mismatch("milestone", "authentic", "counterfeit")


def test_explain_names_the_final_route_and_not_merely_an_earlier_one() -> None:
    traces = explained(route("a", "x"), route("n", "x", match=NO, final=True), route("b", "y", final=True), route("c", "z"))
    assert traces[3].failed is not None
    assert traces[3].failed.actual == "b"


def test_explain_gives_the_place_of_each_condition_in_its_route() -> None:
    traces = explained(
        route("a", "x", match=YES, final=True),
        route("b", "x", match=[{"state": {"supplement": "APPROVED"}}]),
        route("c", "x", unless=[*NO, *YES]),
        route("d", "x", sources=("shop",)),
        route("e", "x"),
        route("f", "x", fallback=True),
    )
    assert [trace.keys for trace in traces] == [
        (),
        ("match", 0, "state.supplement"),
        ("unless", 1),
        ("source",),
        ("final",),
        ("fallback",),
    ]


def test_explain_shows_the_pattern_of_unless_that_matched() -> None:
    (trace,) = explained(route("a", "x", unless=[*NO, {"reference_id": {"prefix": "BAG"}}]))
    assert trace.failed == Mismatch("unless", {"not": {"reference_id": {"prefix": "BAG"}}}, {"reference_id": "BAG-1"})


@pytest.mark.parametrize(
    ("tables", "nearest"),
    [
        ([{"milestone": "draft"}, {"milestone": "queued"}], ("match", 0, "milestone")),
        ([{"milestone": "draft"}, {"event_type": "state_change", "sr_uuid": "sr-2"}], ("match", 1, "sr_uuid")),
        ([{"sr_uuid": "sr-2"}, {"state": {"primary": "COMPLETE", "supplement": "x"}}], ("match", 1, "state.supplement")),
        ([{"state": {"primary": "COMPLETE", "supplement": "x"}}, {"sr_uuid": "sr-2"}], ("match", 0, "state.supplement")),
        ([{"sr_uuid": "sr-2"}, {"sides": {"side": "Front"}}, {"sr_uuid": "sr-1", "x": 1}], ("match", 2, "x")),
    ],
)
def test_explain_shows_the_nearest_of_several_patterns_and_the_first_of_equally_near_ones(
    tables: list[dict[str, Any]], nearest: tuple[str, int, str]
) -> None:
    (trace,) = explained(route("a", "x", match=tables))
    assert trace.keys == nearest


def test_an_array_is_as_near_as_its_nearest_element() -> None:
    sides = event_of({"sides": [{"side": "Front"}, {"side": "Back", "reason": "BLURRY"}]})
    tables = [{"sides": {"side": "Label"}}, {"sides": {"side": "Back", "reason": "GLARE"}}]
    (trace,) = explained(route("a", "x", match=tables), event=sides)
    assert trace.keys == ("match", 1, "sides")


# A slow model of docs/reference.md, "Routing", sentence by sentence, and random routes to hold it against.

fields = st.fixed_dictionaries(
    {},
    optional={
        "milestone": st.sampled_from(["counterfeit", "unrecognized", "draft"]),
        "source": st.sampled_from(["legitmark", "shop"]),
        "a": st.sampled_from([1, "x", {"not": "x"}, {"exists": False}, {"gt": 1}, ["x", 2]]),
        "b": st.sampled_from([{"c": 1}, {"c": {"not": 1}, "d": {"exists": True}}]),
    },
)
routes_without_names = st.fixed_dictionaries(
    {
        "sinks": st.lists(st.sampled_from("wxyz"), max_size=3),
        "match": st.lists(fields, max_size=2),
        "unless": st.lists(fields, max_size=1),
        "sources": st.sampled_from([(), (), ("legitmark",), ("shop", "other")]),
        "final": st.booleans(),
        "fallback": st.booleans(),
    }
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.sampled_from(["state_change", "other"]),
        "state": st.sampled_from([{"primary": "DRAFT"}, {"primary": "COMPLETE", "supplement": "REJECTED"}]),
        "a": st.sampled_from([None, 1, 2, "x", ["x", "y"], []]),
        "b": st.sampled_from([None, {"c": 1}, [{"c": 1}, {"c": 2, "d": 3}], "b"]),
    },
)


@settings(max_examples=400)
@given(made=st.lists(routes_without_names, max_size=6), body=bodies, source=st.sampled_from(["legitmark", "shop", "third"]))
def test_explain_and_route_agree_with_the_reference(made: list[dict[str, Any]], body: dict[str, Any], source: str) -> None:
    routes = [
        route(
            f"r{at}",
            *one["sinks"],
            match=one["match"],
            unless=one["unless"],
            sources=one["sources"],
            final=one["final"],
            fallback=one["fallback"],
        )
        for at, one in enumerate(made)
    ]
    event = event_of(body)
    found = Router(routes).route(event, source)
    traces = Router(routes).explain(event, source)

    assert [trace.name for trace in traces] == [one.name for one in routes]
    assert {trace.name for trace in traces if trace.matched} == set(found.routes)
    assert all((trace.failed is None) is trace.matched is (trace.keys == ()) for trace in traces)

    view = {**event.values, "milestone": event.milestone.value, "source": source}
    fitting = [
        one
        for one in routes
        if (not one.sources or source in one.sources)
        and (not one.match or any(table.matches(view) for table in one.match))
        and not any(table.matches(view) for table in one.unless)
    ]
    plain = [one for one in fitting if not one.fallback]
    first_final = next((at for at, one in enumerate(plain) if one.final), len(plain))
    expected = plain[: first_final + 1] or [one for one in fitting if one.fallback]
    assert found.routes == tuple(one.name for one in expected)
    assert found.sinks == tuple(dict.fromkeys(sink for one in expected for sink in one.sinks))


def test_a_type_of_any_length_is_routed_and_only_a_short_one_is_remembered() -> None:
    """The sender chooses the type, and hundreds of long ones would fill the memory."""
    router = Router([route("a", "x", match=[{"event_type": {"prefix": "new"}}])])
    for length, remembered in ((100, 1), (101, 1), (10_000, 1)):
        assert router.route(event_of({"event_type": "new".ljust(length, "w")}), "legitmark").routes == ("a",)
        assert len(router._given) == remembered


def test_a_router_that_follows_another_decides_by_its_own_routes_and_remembers_a_bounded_number_of_kinds() -> None:
    stays, leaves = (route(name, name, match=[{"event_type": {"prefix": "new"}, "a": 1}]) for name in "xy")
    comes = route("z", "z", match=[{"event_type": {"prefix": "new"}, "a": 1}])
    before = Router([stays, leaves])
    for number in range(1000):
        event = event_of({"event_type": f"new{number}", "a": 1})
        assert before.route(event, "legitmark").routes == ("x", "y")
    after = Router([comes, stays], before)
    assert after.route(event, "legitmark").routes == ("z", "x")
    assert after.route(event, "gateway").routes == ()
    assert after._known[1] is before._known[0], "what is known of a route is found out once"
    assert len(before._given) <= 256 and all(len(one._for_kind) <= 64 for one in before._known)
