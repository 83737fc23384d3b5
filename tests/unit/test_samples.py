"""The sample events, and `path=value` as `--set` takes it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from gateway.core.events import EVENT_TYPES, IDENTITY, Event, Milestone, UnknownEvent, decode, event_of, identity
from gateway.core.samples import SAMPLES, with_values


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_an_event_of_the_milestone_it_is_named_after(name: str) -> None:
    decoded = decode(json.dumps(SAMPLES[name]).encode())
    assert isinstance(decoded, Event)
    assert decoded.milestone == name.removesuffix("_ja").removesuffix("_coded")
    assert isinstance(decoded.content, UnknownEvent) == (name == "unrecognized")


def test_there_is_a_sample_of_every_milestone_and_every_event_type() -> None:
    events = [event_of(values) for values in SAMPLES.values()]
    assert {event.milestone for event in events} == set(Milestone)
    assert {event.event_type for event in events} > EVENT_TYPES


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_fields_of_every_event(name: str) -> None:
    event = event_of(SAMPLES[name])
    assert event.event_type and event.sr_uuid and event.reference_id and event.timestamp
    assert (identity(event, IDENTITY) is None) == (event.event_type not in EVENT_TYPES)


def test_media_rejected_comes_in_both_published_shapes() -> None:
    plain, coded = SAMPLES["needs_resubmission"], SAMPLES["needs_resubmission_coded"]
    assert {"side", "reason", "message"} == set(plain["sides"][0])
    assert {"side", "side_uuid", "reason", "reason_description"} == set(coded["sides"][0])
    assert "state" in coded


EVENT = {"a": 1, "state": {"primary": "QC"}, "sides": [{"side": "Front"}]}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("a=2", {"a": 2}),
        ("a=x", {"a": "x"}),
        ("a=", {"a": ""}),
        ("a=x=y", {"a": "x=y"}),
        ('a="2"', {"a": "2"}),
        ("a=true", {"a": True}),
        ("a=True", {"a": "True"}),
        ("a=null", {"a": None}),
        ("a=1.5", {"a": 1.5}),
        ('a={"b": [1]}', {"a": {"b": [1]}}),
        ("a={b}", {"a": "{b}"}),
        ("a=007", {"a": "007"}),
        ("a= 日本 ", {"a": " 日本 "}),
        ("b=1", {"b": 1}),
        ("state.primary=COMPLETE", {"state": {"primary": "COMPLETE"}}),
        ("state.supplement=null", {"state": {"primary": "QC", "supplement": None}}),
        ("new.deep.er=1", {"new": {"deep": {"er": 1}}}),
        ("a=2026-03-05T10:30:00Z", {"a": "2026-03-05T10:30:00Z"}),
    ],
)
def test_a_value_is_json_if_it_parses_as_json_and_text_otherwise(assignment: str, expected: dict[str, Any]) -> None:
    assert with_values(EVENT, [assignment]) == EVENT | expected


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_word_that_only_python_accepts_as_json_is_text(word: str) -> None:
    found = with_values(EVENT, [f"a={word}"])["a"]
    assert not (isinstance(found, float) and not math.isfinite(found))
    assert found == word


def test_assignments_are_applied_in_order() -> None:
    assert with_values(EVENT, ["a=1", "b.c=2", "a=3", "b.d=4"]) == EVENT | {"a": 3, "b": {"c": 2, "d": 4}}


def test_the_given_event_does_not_change() -> None:
    before = json.dumps(EVENT)
    changed = with_values(EVENT, ["state.primary=COMPLETE"])
    changed["sides"][0]["side"] = "Back"
    assert json.dumps(EVENT) == before


@pytest.mark.parametrize(
    "assignment", ["", "a", "=1", ".=1", "a.=1", ".a=1", "a..b=1", "a.b=1", "sides.0=1", "state.primary.x=1"]
)
def test_an_impossible_assignment_is_refused_and_quoted(assignment: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        with_values(EVENT | {"a": 1}, [assignment])
    assert assignment.partition("=")[0] in str(caught.value)
