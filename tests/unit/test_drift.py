"""The values of an event that no document of the sender lists, and where it stands in the body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.drift import Word, words
from gateway.core.events import Event, decode, event_of

PAYLOADS = sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))


def found(**values: Any) -> list[Word]:
    return words(event_of(values))


@pytest.mark.parametrize("payload", [path for path in PAYLOADS if "unknown" not in path.name], ids=lambda path: path.name)
def test_a_documented_body_has_nothing_new_but_reasons(payload: Path) -> None:
    event = decode(payload.read_bytes())
    assert isinstance(event, Event)
    assert {word.kind for word in words(event)} <= {"reason"}


def test_a_new_type_is_named() -> None:
    assert found(event_type="sr_reopened", sr_uuid="1") == [Word("type", "sr_reopened", "event_type")]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"primary": "ESCALATED", "supplement": None}, Word("state", "ESCALATED", "state.primary")),
        ({"primary": "QC", "supplement": "PAUSED"}, Word("state", "QC/PAUSED", "state.supplement")),
        ({"primary": "QUEUE", "supplement": "whatever"}, None),
        ({"primary": "QC", "supplement": 7}, None),
        ({"primary": ["QC"]}, None),
    ],
)
def test_a_new_state_is_named_at_the_part_of_it_that_is_new(state: dict[str, Any], word: Word | None) -> None:
    assert found(event_type="state_change", state=state) == ([] if word is None else [word])


def test_a_new_field_is_named_without_numbers_and_placed_with_them() -> None:
    sides = [{"side": "Front"}, {"side": "Label", "angle": {"degrees": 30}}]
    state = {"primary": "QC", "supplement": "REJECTED", "by": "x"}
    assert found(event_type="media_rejected", sides=sides, priority=1, state=state) == [
        Word("field", "sides[].angle", "sides[1].angle"),
        Word("field", "priority", "priority"),
        Word("field", "state.by", "state.by"),
    ]


def test_the_names_of_the_gateways_own_fields_are_new_in_an_event_of_a_sender() -> None:
    assert found(event_type="state_change", detail="x") == [Word("field", "detail", "detail")]


def test_each_reason_is_named_once() -> None:
    sides = [{"reason": "BLURRY"}, {"reason": "ぼやけている"}, {"reason": "BLURRY"}, {"reason": None}, "x"]
    assert found(event_type="media_rejected", sides=sides) == [
        Word("reason", "BLURRY", "sides[0].reason"),
        Word("reason", "ぼやけている", "sides[1].reason"),
    ]
    assert words(event_of({"event_type": "media_rejected", "sides": sides}), {"BLURRY"}) == [
        Word("reason", "ぼやけている", "sides[1].reason")
    ]
    reason = {"code": "EXPIRED", "message": "x"}
    word = Word("reason", "EXPIRED", "invalidation_reason.code")
    assert found(event_type="invalidate_sr", invalidation_reason=reason) == [word]
    assert found(event_type="invalidate_sr", invalidation_reason={"code": "CANCELLED"}) == []


def test_a_large_or_deep_body_is_looked_at_in_part_and_long_texts_are_cut() -> None:
    assert len(words(event_of({f"field {number}": number for number in range(5000)}))) == 256
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert words(event_of({"event_type": "media_rejected", "sides": deep})) == []
    (word,) = words(event_of({"x" * 5000: 1}))
    assert len(word.value) == len(word.path) == 200


def test_a_body_of_any_shape_is_looked_at_without_an_error() -> None:
    for text in ('{"state": [], "sides": {}, "invalidation_reason": 3}', '{"sides": [[[]], null, 7]}', '{"": {"": 1}}'):
        words(event_of(json.loads(text)))
