"""The judge: the case table of docs/design.md, and the promises that hold for every story."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct, structs

from gateway.core.events import Event, Milestone, decode, event_of
from gateway.core.judge import judge
from gateway.core.ledger import (
    MOST_FACTS_BYTES,
    MOST_INSTANTS,
    MOST_ROW_BYTES,
    Course,
    Facts,
    Flag,
    Regression,
    ServiceRequest,
    decode_facts,
    encode_facts,
    milestone_of,
    rank_of,
)
from gateway.core.packed_rows import pack_request, unpack_request
from tests.docs.reading import ROOT, marked, rows, text_of, words
from tests.support.stories import BEGINNING, LETTERS, bodies

LATER = BEGINNING + 1000
"""The arrival of the first event of a story, in Unix seconds; each further one arrives a second later."""


class Case(Struct, frozen=True):
    """A row of the case table: a story, and what is found out about it."""

    story: str
    facts: str
    """The events that have facts, each with its facts; rounds are below."""
    state: str
    round: int
    flags: str = ""
    verdict: Milestone | None = None
    rounds: str | None = None
    """The round of each event; None if the table says nothing of them."""


P, A = "QC/PENDING", "QC/APPROVED"
BOTH = f"skipped:{P},{A}"
TABLE = [
    Case(
        "P10 R20 M21 P30 R40 M41 P50 A60 U70 C80 D90",
        "",
        "COMPLETE/COMPLETE",
        3,
        verdict=Milestone.AUTHENTIC,
        rounds="1 1 1 2 2 2 3 3 3 3 3",
    ),
    Case("P10 M21 R20", "", "QC/REJECTED", 1, rounds="1 1 1"),
    Case("P10 R20 P30 M21", "M21 stale", P, 2, rounds="1 1 2 1"),
    Case("P10 R20 R40 P30", "P30 stale", "QC/REJECTED", 2, rounds="1 1 2 2"),
    Case("R20 P30", f"R20 skipped:{P}", P, 2, "skipped", rounds="1 2"),
    Case("P10 U70 A60", f"U70 skipped:{A} | A60 stale", "UNDERWAY/ASSIGNED", 1),
    Case("C80 P10 A60", f"C80 {BOTH} | P10 stale | A60 stale", "COMPLETE/APPROVED", 1, verdict=Milestone.AUTHENTIC),
    Case("P10 F20 C80", "", "COMPLETE/APPROVED", 1, verdict=Milestone.AUTHENTIC),
    Case(
        "P10 A60 C80 N85",
        "N85 verdict_changed",
        "COMPLETE/REJECTED",
        1,
        "verdict_changed",
        verdict=Milestone.COUNTERFEIT,
    ),
    Case(
        "C80 N85",
        f"C80 {BOTH} | N85 verdict_changed",
        "COMPLETE/REJECTED",
        0,
        "skipped verdict_changed",
        verdict=Milestone.COUNTERFEIT,
    ),
    Case("C80 P85", f"C80 {BOTH} | P85 reopened", P, 2, "skipped reopened", Milestone.AUTHENTIC, rounds="0 2"),
    Case("P10 A60 C80 P85", "P85 reopened", P, 2, "reopened", Milestone.AUTHENTIC, rounds="1 1 1 2"),
    Case("P10 I30 X31", "", "CANCELLED", 1),
    Case("P10 X31 I30", "", "CANCELLED", 1),
    Case("C80 X90", f"C80 {BOTH} | X90 ended_twice", "CANCELLED", 0, "skipped ended_twice", Milestone.AUTHENTIC),
    Case("P10 A60 C80 X90", "X90 ended_twice", "CANCELLED", 1, "ended_twice", Milestone.AUTHENTIC),
    Case("P10 I30 U70", "U70 after_invalidation", "UNDERWAY/ASSIGNED", 1, "skipped after_invalidation"),
    Case("A60 P60", f"A60 skipped:{P} | P60 stale", A, 1),
    Case("P10 E20 A30", "E20 drift", A, 1, "drift"),
]
STORIES = [case.story for case in TABLE]


def judged(bodies: list[dict[str, Any]], arrival: float = LATER) -> tuple[list[Facts], ServiceRequest]:
    """Judge events that arrive one after the other."""
    every, request = [], None
    for number, body in enumerate(bodies):
        facts, request = judge(request, event_of(body), arrival + number)
        every.append(facts)
    assert request is not None
    return every, request


def told(facts: Facts) -> str:
    words = [word for word in ("stale", "undated", "future", "drift") if getattr(facts, word)]
    words += [f"skipped:{','.join(facts.skipped)}"] if facts.skipped else []
    words += [facts.terminal_regression.value] if facts.terminal_regression else []
    return " ".join(words)


def last(story: str) -> Facts:
    """Return the facts of the last event of a story."""
    return judged(bodies(story))[0][-1]


def row(story: str) -> ServiceRequest:
    return judged(bodies(story))[1]


@pytest.mark.parametrize("case", TABLE, ids=STORIES)
def test_the_case_table(case: Case) -> None:
    every, request = judged(bodies(case.story))
    named = zip(case.story.split(), every, strict=True)
    assert " | ".join(f"{word} {told(facts)}" for word, facts in named if told(facts)) == case.facts
    assert (request.state, request.round, request.verdict) == (case.state, case.round, case.verdict)
    assert " ".join(request.flags.words) == case.flags
    if case.rounds is not None:
        assert " ".join(str(facts.round) for facts in every) == case.rounds


def test_the_document_has_the_same_cases_and_ends() -> None:
    found = rows(marked(text_of(ROOT / "docs/design.md"), "cases"))
    assert [(words(row[0])[0], row[2].partition(",")[0]) for row in found] == [(case.story, case.state) for case in TABLE]


def test_a_gap_is_closed_by_the_state_that_was_missing() -> None:
    assert row("P10 U70").missing == (A,)
    assert row("P10 U70 A60").missing == ()
    assert row("C80 P10").missing == (A,)


def test_a_gap_is_told_once_and_not_again_by_each_later_event() -> None:
    every, _ = judged(bodies("P10 U70 C80 D90"))
    assert [facts.skipped for facts in every] == [(), (A,), (), ()]


def test_the_facts_name_the_state_and_the_milestone_that_the_request_had_before() -> None:
    every, _ = judged(bodies("P10 A60 P20 I70 U65"))
    assert [facts.before for facts in every] == [None, P, A, A, A]
    assert [facts.since for facts in every] == [None, None, Milestone.QC_APPROVED, None, Milestone.INVALIDATED]


def test_an_invalidated_request_says_so_until_something_happens_to_it() -> None:
    assert row("P10 I30").milestone is Milestone.INVALIDATED
    assert row("P10 I30").invalidated_at_ms == (BEGINNING + 30) * 1000
    assert row("P10 I30 X31").milestone is Milestone.CANCELLED
    assert row("P10 X30 I30").milestone is Milestone.CANCELLED
    assert row("P10 I30 U70").milestone is Milestone.IN_PROGRESS


def test_what_happened_before_the_invalidation_is_stale_after_it() -> None:
    assert told(last("P10 I30 A20")) == "stale"
    assert told(last("P10 U70 I30")) == "stale"
    assert row("P10 U70 I30").flags == row("P10 I30 U70").flags


def test_an_invalidation_after_the_verdict_ends_the_request_twice() -> None:
    assert last("P10 A60 C80 I90").terminal_regression is Regression.ENDED_TWICE
    assert told(last("P10 A60 C80 I90 X91")) == ""
    assert Flag.ENDED_TWICE in row("P10 A60 I90 C80").flags


def test_a_contradiction_is_told_by_the_event_that_makes_it_and_not_again_by_the_next() -> None:
    assert told(last("P10 A60 C80 P85 R86")) == ""
    assert told(last("P10 A60 I65 U70 C80")) == ""
    assert told(last("P10 A60 X70 C80 D90")) == ""
    assert told(last("P10 A60 C80 X90 I91")) == ""


def test_at_the_instant_of_an_invalidation_nothing_contradicts_it() -> None:
    assert told(last("P10 A20 I30 U30")) == ""
    assert row("P10 A20 I30 U30").flags == Flag(0)


def test_photos_that_are_submitted_after_a_request_for_new_ones_open_the_next_round() -> None:
    assert last("M21 P30").round == 2
    assert last("R21 P30").round == 2
    assert last("R30 M30 P30").round == 1


def test_an_unknown_state_between_two_ends_hides_no_contradiction() -> None:
    assert last("P10 A60 C80 E82 P85").terminal_regression is Regression.REOPENED
    assert last("P10 A60 C80 E82").terminal_regression is None


def test_the_reasons_of_a_rejection_are_not_late_even_if_they_are_dated_before_it() -> None:
    assert told(last("P10 R20 M19")) == ""
    assert told(last("P10 R20 P30 R40 M21")) == "stale"


def test_a_verdict_that_comes_after_the_documents_is_late_and_still_brings_the_verdict() -> None:
    facts = last("P10 A60 D90 C80")
    assert (facts.stale, facts.brings_verdict) == (True, True)
    older = last("P10 A60 N85 C80")
    assert (older.stale, older.brings_verdict, older.terminal_regression) == (True, False, None)
    changed = last("P10 A60 C80 D90 N85")
    assert (changed.stale, changed.brings_verdict) == (True, True)
    assert changed.terminal_regression is Regression.VERDICT_CHANGED


@pytest.mark.parametrize(("ahead", "future"), [(300.0, False), (300.001, True)])
def test_an_event_more_than_five_minutes_ahead_counts_at_its_arrival(ahead: float, future: bool) -> None:
    (body,) = bodies("P0")
    arrival = BEGINNING - ahead
    facts, request = judge(None, event_of(body), arrival)
    assert facts.future is future
    assert (Flag.FUTURE in request.flags) is future
    assert request.state_at_ms == round((arrival if future else BEGINNING) * 1000)


def test_one_bad_clock_does_not_make_all_later_events_stale() -> None:
    pending, approved = bodies("P90000 A60")
    _, request = judge(None, event_of(pending), BEGINNING + 50)
    facts, request = judge(request, event_of(approved), BEGINNING + 61)
    assert (facts.stale, request.state) == (False, A)


@pytest.mark.parametrize("timestamp", [None, "", "yesterday", "2026-02-30T00:00:00Z"])
def test_an_event_without_a_readable_timestamp_counts_at_its_arrival(timestamp: object) -> None:
    (body,) = bodies("P10")
    facts, request = judge(None, event_of({**body, "timestamp": timestamp}), LATER)
    assert facts.undated and Flag.UNDATED in request.flags
    assert request.state_at_ms == LATER * 1000


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "certificate_issued"},
        {"event_type": None},
        {"event_type": ["state_change"]},
        {"state": None},
        {"state": "QC"},
        {"state": {"supplement": "PENDING"}},
        {"state": {"primary": 7}},
        {"state": {"primary": "QC", "supplement": "SECOND_LOOK"}},
        {"state": {"primary": "", "supplement": ""}},
        {"reference_id": {"number": 1}},
    ],
    ids=str,
)
def test_what_this_version_does_not_know_is_drift_and_no_exception(change: dict[str, Any]) -> None:
    pending, approved = bodies("P10 A60")
    _, before = judge(None, event_of(pending), LATER)
    facts, after = judge(before, event_of({**approved, **change}), LATER + 1)
    assert facts.drift and Flag.DRIFT in after.flags
    assert after.events == 2
    assert (after.missing, after.verdict, facts.terminal_regression) == ((), None, None)


def test_seen_and_counted() -> None:
    request = row("P10 M21 R20")
    assert (request.first_seen_ms, request.last_seen_ms, request.events) == (LATER * 1000, (LATER + 2) * 1000, 3)


def test_the_same_event_twice_opens_no_round() -> None:
    assert row("P10 P10 R20 R20").round == 1


def test_the_documented_states_have_ranks_in_the_order_of_their_course() -> None:
    course = ["ESCALATED", "DRAFT", P, "QC/REJECTED", A, "QC/COMPLETE", "QUEUE", "UNDERWAY/PENDING", "UNDERWAY/ASSIGNED"]
    course += ["UNDERWAY/APPROVED", "COMPLETE/APPROVED", "COMPLETE/REJECTED", "COMPLETE/COMPLETE", "CANCELLED"]
    assert [rank_of(state) for state in course] == list(range(14))
    assert rank_of("QUEUE/FIRST") == rank_of("QUEUE")
    assert milestone_of("CANCELLED/BY_PARTNER") is Milestone.CANCELLED


# Every permutation.


def unordered(events: list[tuple[dict[str, Any], float]]) -> ServiceRequest:
    """Judge events, each with its arrival."""
    request = None
    for body, arrival in events:
        _, request = judge(request, event_of(body), arrival)
    assert request is not None
    return request


some_words = st.builds(lambda letter, second: f"{letter}{second}", st.sampled_from(LETTERS), st.integers(0, 40))
"""Events close together, so that many share an instant."""
stories = st.sampled_from(STORIES) | st.lists(some_words, min_size=1, max_size=12).map(" ".join)


@given(story=stories, data=st.data())
@example(story="P10 N20 C20 X20 D20", data=None)
def test_every_permutation_of_the_same_events_ends_in_the_same_row(story: str, data: st.DataObject | None) -> None:
    events = list(zip(bodies(story), itertools.count(LATER), strict=False))
    shuffled = events[::-1] if data is None else data.draw(st.permutations(events))
    assert unordered(shuffled) == unordered(events)


@given(story=stories, data=st.data())
def test_permutations_of_undated_future_and_dated_events_end_in_the_same_row(story: str, data: st.DataObject) -> None:
    plain = bodies(story)
    stamps = data.draw(st.lists(st.sampled_from(["", "2999-01-01T00:00:00Z", None]), min_size=len(plain), max_size=len(plain)))
    dated = [body if stamp is None else {**body, "timestamp": stamp} for body, stamp in zip(plain, stamps, strict=True)]
    events = list(zip(dated, itertools.count(LATER), strict=False))
    assert unordered(data.draw(st.permutations(events))) == unordered(events)


@pytest.mark.parametrize("story", [story for story in STORIES if len(story.split()) <= 5])
def test_all_orders_of_the_short_stories_of_the_table_end_in_the_same_row(story: str) -> None:
    events = list(zip(bodies(story), itertools.count(LATER), strict=False))
    assert {unordered(list(order)) for order in itertools.permutations(events)} == {unordered(events)}


@given(story=stories)
def test_the_state_is_that_of_the_latest_event_and_only_late_events_leave_it_alone(story: str) -> None:
    known = {"P": P, "R": "QC/REJECTED", "A": A, "F": "QC/COMPLETE", "U": "UNDERWAY/ASSIGNED", "C": "COMPLETE/APPROVED"}
    known |= {"N": "COMPLETE/REJECTED", "D": "COMPLETE/COMPLETE", "X": "CANCELLED", "E": "ESCALATED"}
    request = None
    seen: list[tuple[int, int, str]] = []
    for number, (word, body) in enumerate(zip(story.split(), bodies(story), strict=True)):
        facts, request = judge(request, event_of(body), LATER + number)
        if (state := known.get(word[0])) is not None:
            key = (int(word[1:]), rank_of(state), state)
            assert facts.stale or key >= max(seen, default=key)
            seen.append(key)
        assert request.state == (max(seen)[2] if seen else None)


# Bounds, and the stored form.

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
bodies_of_any_shape = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.sampled_from(["state_change", "media_rejected", "invalidate_sr"]) | anything,
        "state": st.fixed_dictionaries({"primary": anything, "supplement": anything}) | anything,
        "timestamp": st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-03-01T00:00:00.123456Z"]) | anything,
        "sides": anything,
    },
)


def decoded(body: dict[str, Any]) -> Event:
    found = decode(json.dumps(body).encode())
    assert isinstance(found, Event)
    return found


@given(st.lists(bodies_of_any_shape, min_size=1, max_size=6))
def test_any_body_can_be_judged_kept_and_read_back(every: list[dict[str, Any]]) -> None:
    request = None
    for number, body in enumerate(every):
        facts, request = judge(request, decoded(body), LATER + number)
        assert decode_facts(encode_facts(facts)) == facts
        assert unpack_request(pack_request(request)) == request
        assert len(encode_facts(facts)) <= MOST_FACTS_BYTES
        assert len(pack_request(request)) <= MOST_ROW_BYTES


def test_a_row_stays_under_its_bound_however_many_rounds_and_however_long_a_state() -> None:
    long = {
        **bodies("E3000")[0],
        "state": {"primary": "\N{FACE WITH TEARS OF JOY}" * 500, "supplement": "\N{GRINNING FACE}" * 500},
    }
    story = " ".join(f"P{at} R{at + 1} M{at + 2} C{at} N{at} D{at} X{at} I{at} A{at} U{at}" for at in range(0, 3000, 10))
    every, request = judged([*bodies(story), long, *bodies("C3000 C2999")], LATER + 10_000_000)
    assert len(request.pendings) == len(request.rejecteds) == len(request.medias) == MOST_INSTANTS
    assert request.pendings[-1] == (BEGINNING + 2990) * 1000
    assert MOST_ROW_BYTES / 2 < len(pack_request(request)) <= MOST_ROW_BYTES
    assert max(len(encode_facts(facts)) for facts in every) <= MOST_FACTS_BYTES


def test_the_usual_facts_and_rows_are_small() -> None:
    every, request = judged(bodies("P10 A60 U70 C80 D90"))
    assert max(len(encode_facts(facts)) for facts in every) <= 16
    assert len(pack_request(request)) <= 96


@pytest.mark.parametrize("stored", [b"", b"\x00", b"\x02\x90", b"\x01", b"\x01\x91\xc3"])
def test_bytes_of_another_form_are_refused_and_not_guessed(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_facts(stored)
    with pytest.raises(ValueError, match=r".+"):
        unpack_request(stored)


def test_a_row_and_facts_that_were_written_before_a_field_existed_are_still_read() -> None:
    assert decode_facts(b"\x01\x90") == Facts()
    assert unpack_request(b"\x01\x90") == ServiceRequest()


@pytest.mark.parametrize("story", ["P10 R20 M21 P30 A60 C80 C85 X90 I95", "P10 U70", "C80", "M21"])
def test_a_row_that_was_written_before_the_course_had_some_fields_does_not_know_those_alone(story: str) -> None:
    _, request = judged(bodies(story))
    *others, instants = msgspec.msgpack.decode(pack_request(request)[1:])
    in_front = 2 + sum(others[5]) + (request.verdict is not None)
    course = len(instants) - in_front
    assert course > 0
    for fields in range(course):
        older = b"\x01" + msgspec.msgpack.encode((*others, instants[: in_front + fields]))
        known = Course(*structs.astuple(request.course)[:fields])
        assert unpack_request(older) == structs.replace(request, course=known)
