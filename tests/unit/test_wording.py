"""What an event says to a person. Texts come from the sender, so no line of theirs may become two."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import Event, Milestone, decode, event_of
from gateway.core.samples import SAMPLES
from gateway.sinks.base import Outgoing
from gateway.sinks.wording import LONGEST_TEXT, headline, lines
from tests.conftest import PAYLOADS


def outgoing(values: dict[str, Any] | None) -> Outgoing:
    return Outgoing(
        delivery_id="0190-desk",
        message_id="0190",
        sender_id="msg_1",
        source="legitmark",
        received_at=1_772_000_000.0,
        event=None if values is None else event_of(values),
        body=b"",
        content_type=None,
        attempt=1,
    )


def test_every_milestone_has_a_headline_of_its_own() -> None:
    said = {event_of(values).milestone: headline(outgoing(values)) for values in SAMPLES.values()}
    assert set(said) == set(Milestone)
    assert len(set(said.values())) == len(Milestone)


def test_authentic_and_counterfeit_cannot_be_mistaken() -> None:
    assert headline(outgoing(SAMPLES["authentic"])) == "The item is authentic: ITEM-1042"
    assert headline(outgoing(SAMPLES["counterfeit"])) == "The item is NOT authentic: ITEM-1042"


def test_a_headline_names_the_item_by_the_partners_own_id_first() -> None:
    assert headline(outgoing({"event_type": "invalidate_sr", "sr_uuid": "sr-1", "reference_id": "BAG"})).endswith(": BAG")
    assert headline(outgoing({"event_type": "invalidate_sr", "sr_uuid": "sr-1"})).endswith(": sr-1")
    assert ":" not in headline(outgoing({"event_type": "invalidate_sr"}))


def test_an_unknown_event_names_its_type() -> None:
    assert "certificate_issued" in headline(outgoing(SAMPLES["unrecognized"]))
    assert headline(outgoing({}))


def test_a_quarantined_message_has_words_too() -> None:
    assert headline(outgoing(None))
    assert lines(outgoing(None)) == ["Message: 0190"]


def test_the_lines_hold_the_facts() -> None:
    assert lines(outgoing(SAMPLES["needs_resubmission"])) == [
        "Item: ITEM-1042",
        "Service request: 5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718",
        "When: 2026-03-05T10:30:00.000Z",
        "- Front: Out of focus: Hold the camera still, and fill the frame.",
        "- Label: Glare",
        "Message: 0190",
    ]


def test_both_shapes_of_media_rejected_say_what_to_do() -> None:
    assert "- Front: BLURRY: The photo is blurred" in lines(outgoing(SAMPLES["needs_resubmission_coded"]))


def test_an_invalidation_says_why() -> None:
    assert "Reason: CANCELLED, The service request was cancelled" in lines(outgoing(SAMPLES["invalidated"]))


def test_japanese_texts_come_through_unchanged() -> None:
    decoded = decode((PAYLOADS / "media_rejected.ja.json").read_bytes())
    assert isinstance(decoded, Event)
    said = lines(outgoing(decoded.values))
    assert said[0] == "Item: バッグ-0042"
    assert any("正面の縫い目が読み取れません。カメラを固定して、もう一度撮影してください。" in line for line in said)
    assert "全角\u3000空白" in headline(outgoing({"event_type": "invalidate_sr", "reference_id": "全角\u3000空白"}))


BREAKERS = "\n\r\t\x00\x0b\x0c\x1b\x7f\x85\u2028\u2029\u202e\u2066\ufeff"


@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda character: f"U+{ord(character):04X}")
def test_a_control_character_becomes_a_space(breaker: str) -> None:
    hostile = f"a{breaker}Bcc: x@example.com"
    values = {
        "event_type": "media_rejected",
        "sr_uuid": hostile,
        "reference_id": hostile,
        "timestamp": hostile,
        "sides": [{"side": hostile, "reason": hostile, "message": hostile}],
    }
    for said in [headline(outgoing(values)), headline(outgoing({"event_type": hostile})), *lines(outgoing(values))]:
        assert breaker not in said
        assert "a Bcc" in said or said.startswith("Message")


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    sides = [{"side": f"Side {at}", "reason": "x" * 500} for at in range(100)]
    said = lines(outgoing({"event_type": "media_rejected", "sides": sides}))
    *kept, more, message = said
    assert more == f"... (+{100 - len(kept)} more)"
    assert message.startswith("Message: "), "the id is what one looks the message up by, so it is never cut"
    assert LONGEST_TEXT - 700 < len("\n".join(said)) <= LONGEST_TEXT


def test_line_breaks_count_for_the_length_of_a_text() -> None:
    said = lines(outgoing({"event_type": "media_rejected", "sides": [{"side": "x"}] * 5000}))
    assert LONGEST_TEXT - 110 < len("\n".join(said)) <= LONGEST_TEXT


def test_one_line_does_not_fill_the_whole_text() -> None:
    endless = {"event_type": "x" * 100_000, "sr_uuid": "y" * 100_000}
    assert len(headline(outgoing(endless))) < 2100
    assert len(lines(outgoing(endless))[0]) == 1000


@given(
    values=st.fixed_dictionaries(
        {"event_type": st.sampled_from(["state_change", "media_rejected", "invalidate_sr"]) | st.text()},
        optional={
            "sr_uuid": st.text(),
            "reference_id": st.text() | st.none(),
            "timestamp": st.text(),
            "state": st.fixed_dictionaries({"primary": st.text()}),
            "sides": st.lists(st.dictionaries(st.sampled_from(["side", "reason", "message"]), st.text()), max_size=3),
            "invalidation_reason": st.dictionaries(st.sampled_from(["code", "message"]), st.text()),
        },
    )
)
def test_any_event_is_put_into_lines_without_line_breaks(values: dict[str, Any]) -> None:
    values = json.loads(json.dumps(values))
    for said in [headline(outgoing(values)), *lines(outgoing(values))]:
        assert said
        assert len(said.splitlines()) == 1
        assert len(said) <= 1100
