"""The facts of an event in patterns: what they match, and that no sender can write them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.settings import FactSettings, StateBefore
from gateway.core.conditions import Mismatch
from gateway.core.events import Milestone, event_of
from gateway.core.fact_fields import FACT_FIELDS, with_facts
from gateway.core.ledger import Facts, Regression
from gateway.core.patterns import compile_pattern
from gateway.core.routing import GATEWAY, Route, Router
from tests.support.stories import bodies

LATE = Facts(
    round=2,
    before="QC/PENDING",
    stale=True,
    skipped=("QC/APPROVED",),
    terminal_regression=Regression.REOPENED,
    undated=True,
    future=True,
)
(PENDING,) = bodies("P10")


def applies(match: dict[str, Any], facts: Facts | None, body: dict[str, Any] = PENDING, source: str = "legitmark") -> bool:
    pattern, problems = compile_pattern(match)
    assert not problems
    return bool(Router([Route("one", ("erp",), match=(pattern,))]).route(event_of(body), source, facts).routes)


MATCHING: list[dict[str, Any]] = [
    {"stale": True},
    {"round": 2},
    {"round": {"gte": 2}},
    {"skipped": "QC/APPROVED"},
    {"skipped": {"exists": True}},
    {"terminal_regression": ["verdict_changed", "reopened"]},
    {"undated": True},
    {"future": True},
    {"state.before": "QC/PENDING"},
    {"state": {"before": {"prefix": "QC/"}, "primary": "QC"}},
]


@pytest.mark.parametrize("match", MATCHING, ids=str)
def test_a_condition_on_a_fact_matches_an_event_that_has_it_and_no_other(match: dict[str, Any]) -> None:
    assert applies(match, LATE)
    assert not applies(match, Facts(round=1))
    assert not applies(match, None)


def test_every_fact_is_tried() -> None:
    tried = {f"{name}.before" if name == "state" else name for match in MATCHING for name in match}
    assert tried == set(FACT_FIELDS)


def test_a_fact_that_does_not_apply_is_absent_and_a_fact_that_is_false_is_not() -> None:
    in_order = Facts(round=1)
    assert applies({"stale": False}, in_order) and not applies({"stale": False}, None)
    for name in ("skipped", "terminal_regression", "state.before"):
        assert applies({name: {"exists": False}}, in_order)


def test_without_facts_all_of_them_are_absent() -> None:
    for name in FACT_FIELDS:
        assert applies({name: {"exists": False}}, None)
        assert applies({name: {"not": "anything"}}, None)


def test_a_sender_cannot_write_facts_into_the_body() -> None:
    forged = {**PENDING, **dict.fromkeys(FACT_FIELDS, True), "state": {**PENDING["state"], "before": "COMPLETE/APPROVED"}}
    for facts in (None, Facts(round=1)):
        assert not applies({"stale": True}, facts, forged)
        assert not applies({"state.before": "COMPLETE/APPROVED"}, facts, forged)
        assert applies({"state.primary": "QC"}, facts, forged)


@pytest.mark.parametrize("body", [{**PENDING, "state": "QC"}, {**PENDING, "state": [{"primary": "QC"}]}], ids=str)
def test_a_state_that_is_no_object_keeps_its_value(body: dict[str, Any]) -> None:
    assert with_facts(body, LATE)["state"] == body["state"]


def test_an_event_without_a_state_has_only_the_one_before() -> None:
    (rejected,) = bodies("M10")
    assert with_facts(rejected, LATE)["state"] == {"before": "QC/PENDING"}


def test_the_body_itself_is_not_changed() -> None:
    body = {**PENDING, "state": {"primary": "QC", "supplement": "PENDING", "before": "x"}, "stale": 1}
    copy = {**body, "state": dict(body["state"])}
    with_facts(body, LATE)
    assert body == copy


def test_an_unusual_type_meets_the_same_facts() -> None:
    assert applies({"stale": True}, LATE, {**PENDING, "event_type": ["state_change"]})
    assert applies({"stale": True}, LATE, {**PENDING, "event_type": "x" * 200})


def test_the_gateways_own_events_match_no_condition_on_a_fact() -> None:
    assert not applies({"source": "gateway", "stale": {"exists": True}}, None, {"event_type": "gateway.sink_opened"}, GATEWAY)


def test_the_explanation_agrees_and_names_the_fact() -> None:
    pattern, _ = compile_pattern({"stale": True})
    router = Router([Route("late", ("erp",), match=(pattern,))])
    (unjudged,) = router.explain(event_of(PENDING), "legitmark")
    assert unjudged.failed == Mismatch("stale", True, None)
    (late,) = router.explain(event_of(PENDING), "legitmark", LATE)
    assert late.matched


def test_the_facts_of_a_test_in_the_configuration_are_the_facts_that_patterns_see() -> None:
    written = FactSettings(
        stale=True,
        round=2,
        skipped=["QC/APPROVED"],
        terminal_regression="reopened",
        undated=True,
        future=True,
        state=StateBefore(before="QC/PENDING"),
    )
    assert with_facts({}, written.facts()) == with_facts({}, LATE)
    assert written.facts().since is Milestone.QC_PENDING
    for regression in Regression:
        assert FactSettings(terminal_regression=regression.value).facts().terminal_regression is regression
