"""Facts by what is known now: the same for every order of arrival, and those of arrival if everything arrived in order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.events import event_of
from gateway.core.hindsight import KnownEvent, Otherwise, facts_by_now, otherwise
from gateway.core.judge import judge
from gateway.core.ledger import MOST_INSTANTS, Facts, Regression
from tests.support.stories import BEGINNING, LETTERS, bodies

LATER = BEGINNING + 1000
"""The arrival of the first event of a story, in Unix seconds; each further one arrives a second later."""
P, A, U = "QC/PENDING", "QC/APPROVED", "UNDERWAY/ASSIGNED"


def arrivals(every: list[dict[str, Any]]) -> list[KnownEvent]:
    return [KnownEvent(event_of(body), LATER + number) for number, body in enumerate(every)]


def on_arrival(came: list[KnownEvent]) -> list[Facts]:
    """Judge events that arrive one after the other."""
    every, request = [], None
    for arrival in came:
        facts, request = judge(request, *arrival)
        every.append(facts)
    return every


def changed(story: str) -> dict[str, list[Otherwise]]:
    """Return what would be judged otherwise today, by the words of a story."""
    came = arrivals(bodies(story))
    pairs = zip(story.split(), on_arrival(came), facts_by_now(came), strict=True)
    return {word: list(found) for word, then, now in pairs if (found := otherwise(then, now))}


def test_nothing_is_judged_otherwise_if_everything_came_in_order() -> None:
    assert changed("P10 R20 M21 P30 R40 M41 P50 A60 U70 C80 D90") == {}


LATE = Otherwise("stale", True, False)


def was(then: str | None, now: str | None) -> Otherwise:
    """Return the change of the state that a request had before an event."""
    return Otherwise("state.before", then, now)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("P10 M40 R20 P30", {"M40": [Otherwise("round", 1, 2)]}),
        ("P10 R20 P30 M21", {"M21": [LATE, was(P, "QC/REJECTED")]}),
        ("P10 R20 R40 P30", {"R40": [was("QC/REJECTED", P)], "P30": [LATE]}),
        (
            "P10 R40 M21 P30",
            {"R40": [Otherwise("round", 1, 2)], "M21": [was("QC/REJECTED", P)], "P30": [LATE, was("QC/REJECTED", P)]},
        ),
        ("R20 P30", {}),
        ("P10 U70 A60", {"U70": [Otherwise("skipped", (A,), ()), was(P, A)], "A60": [LATE, was(U, P)]}),
        (
            "P10 A60 X90 C80",
            {
                "X90": [Otherwise("terminal_regression", None, Regression.ENDED_TWICE), was(A, "COMPLETE/APPROVED")],
                "C80": [LATE, was("CANCELLED", A)],
            },
        ),
        (
            "P10 A60 I30",
            {"A60": [Otherwise("terminal_regression", None, Regression.AFTER_INVALIDATION)], "I30": [LATE, was(A, P)]},
        ),
        (
            "A60 P60",
            {"A60": [Otherwise("round", 0, 1), Otherwise("skipped", (P,), ()), was(None, P)], "P60": [LATE, was(A, None)]},
        ),
    ],
)
def test_what_would_be_judged_otherwise_today(story: str, expected: dict[str, list[Otherwise]]) -> None:
    assert changed(story) == expected


def test_a_timestamp_that_a_newer_version_can_read_is_judged_by_it() -> None:
    event = event_of(bodies("P10")[0])
    undated = judge(None, event_of({**bodies("P10")[0], "timestamp": "yesterday"}), LATER)[0]
    assert otherwise(undated, *facts_by_now([KnownEvent(event, LATER)])) == (Otherwise("undated", True, False),)


def test_the_round_of_a_long_story_is_counted_over_the_newest_instants_before_each_event() -> None:
    story = " ".join(f"P{at} R{at + 1}" for at in range(0, 1000, 10))
    found = facts_by_now(arrivals(bodies(story)))
    assert [facts.round for facts in found] == [facts.round for facts in on_arrival(arrivals(bodies(story)))]
    assert found[-1].round == MOST_INSTANTS


some_words = st.builds(lambda letter, second: f"{letter}{second}", st.sampled_from(LETTERS), st.integers(0, 40))
"""Events close together, so that many share an instant."""
stories = st.lists(some_words, min_size=1, max_size=12).map(" ".join)
stamps = st.sampled_from(["", "2999-01-01T00:00:00Z", None, None])
"""A timestamp that replaces the one of a story; None leaves it."""


@st.composite
def stored(draw: st.DrawFn) -> list[KnownEvent]:
    """Draw the events of a request: dated, undated, and dated ahead."""
    plain = bodies(draw(stories))
    given_stamps = draw(st.lists(stamps, min_size=len(plain), max_size=len(plain)))
    dated = [body if stamp is None else {**body, "timestamp": stamp} for body, stamp in zip(plain, given_stamps, strict=True)]
    return arrivals(dated)


@given(came=stored(), data=st.data())
def test_every_order_of_the_same_events_gives_the_same_facts_by_what_is_known_now(
    came: list[KnownEvent], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(came))))
    of_order = facts_by_now([came[number] for number in order])
    assert dict(zip(order, of_order, strict=True)) == dict(enumerate(facts_by_now(came)))


@given(story=stories, data=st.data())
def test_other_arrivals_of_the_same_events_give_the_same_facts_by_what_is_known_now(story: str, data: st.DataObject) -> None:
    every = bodies(story)
    order = data.draw(st.permutations(range(len(every))))
    came = arrivals([every[number] for number in order])
    assert dict(zip(order, facts_by_now(came), strict=True)) == dict(enumerate(facts_by_now(arrivals(every))))


@pytest.mark.parametrize("story", ["P10 R20 M21 P30", "P10 N20 C20 X20", "C80 P85 X90 I90", "A60 P60 R60 M60"])
def test_all_orders_of_a_short_story_give_the_same_facts(story: str) -> None:
    words = story.split()
    found = {
        tuple(sorted(zip(order, map(str, facts_by_now(arrivals(bodies(" ".join(order))))), strict=True)))
        for order in itertools.permutations(words)
    }
    assert len(found) == 1


@given(came=stored())
@example(came=arrivals(bodies("A60 P60 R60 M60 I60 X60")))
def test_no_event_is_late_by_what_is_known_now(came: list[KnownEvent]) -> None:
    assert not any(facts.stale for facts in facts_by_now(came))


@given(seconds=st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True).map(sorted), data=st.data())
def test_events_that_arrived_in_order_are_judged_as_they_were(seconds: list[int], data: st.DataObject) -> None:
    letters = data.draw(st.lists(st.sampled_from(LETTERS), min_size=len(seconds), max_size=len(seconds)))
    story = " ".join(f"{letter}{second}" for letter, second in zip(letters, seconds, strict=True))
    assert changed(story) == {}


@given(came=stored())
def test_what_is_judged_otherwise_names_each_fact_that_differs_and_no_other(came: list[KnownEvent]) -> None:
    for then, now in zip(on_arrival(came), facts_by_now(came), strict=True):
        fields = [one.fact.removeprefix("state.") for one in otherwise(then, now)]
        taken = structs.replace(then, **{field: getattr(now, field) for field in fields})
        assert otherwise(taken, now) == ()
        assert all(getattr(then, field) != getattr(now, field) for field in fields)
