"""Decoding: no body may raise, and the meaning of an event comes from one closed list."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.events import (
    IDENTITY,
    Event,
    InvalidateSr,
    Invalidation,
    MediaRejected,
    Milestone,
    Side,
    State,
    StateChange,
    Undecodable,
    UnknownEvent,
    decode,
    event_of,
    identity,
    is_json,
    lookup,
)
from tests.support.webhooks import PAYLOADS


def event(body: bytes) -> Event:
    decoded = decode(body)
    assert isinstance(decoded, Event), decoded
    return decoded


def state_change(primary: Any = "QC", supplement: Any = "PENDING", **more: Any) -> dict[str, Any]:
    state = {"primary": primary, "supplement": supplement}
    return {"event_type": "state_change", "sr_uuid": "sr-1", "timestamp": "2026-03-01T00:00:00Z", "state": state, **more}


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


# The published payloads.

PUBLISHED = {
    "invalidate_sr.json": Milestone.INVALIDATED,
    "media_rejected.coded.json": Milestone.NEEDS_RESUBMISSION,
    "media_rejected.ja.json": Milestone.NEEDS_RESUBMISSION,
    "media_rejected.json": Milestone.NEEDS_RESUBMISSION,
    "state_change.cancelled.json": Milestone.CANCELLED,
    "state_change.complete_approved.json": Milestone.AUTHENTIC,
    "state_change.complete_rejected.json": Milestone.COUNTERFEIT,
    "state_change.qc_rejected.json": Milestone.QC_REJECTED,
    "unknown_type.json": Milestone.UNRECOGNIZED,
}


def test_every_published_payload_is_in_the_table() -> None:
    assert {path.name for path in PAYLOADS.glob("*.json")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_payload_means_its_milestone(name: str) -> None:
    assert event((PAYLOADS / name).read_bytes()).milestone == PUBLISHED[name]


def test_a_published_payload_is_decoded_to_plain_values(payload: bytes) -> None:
    decoded, plain = event(payload), json.loads(payload)
    assert decoded.values == plain
    assert list(decoded.values) == list(plain)
    assert (decoded.event_type, decoded.sr_uuid) == (plain["event_type"], plain["sr_uuid"])
    assert (decoded.reference_id, decoded.timestamp) == (plain["reference_id"], plain["timestamp"])


def test_only_the_unknown_type_has_no_typed_content(payload: bytes) -> None:
    decoded = event(payload)
    assert isinstance(decoded.content, UnknownEvent) == (decoded.event_type == "certificate_issued")


# Milestones.

STATES = [
    ("DRAFT", None, "draft"),
    ("QC", "PENDING", "qc_pending"),
    ("QC", "REJECTED", "qc_rejected"),
    ("QC", "APPROVED", "qc_approved"),
    ("QC", "COMPLETE", "qc_complete"),
    ("QUEUE", None, "queued"),
    ("QUEUE", "PENDING", "queued"),
    ("QUEUE", "ANYTHING", "queued"),
    ("UNDERWAY", "PENDING", "awaiting_assignment"),
    ("UNDERWAY", "ASSIGNED", "in_progress"),
    ("UNDERWAY", "APPROVED", "concluding"),
    ("COMPLETE", "APPROVED", "authentic"),
    ("COMPLETE", "REJECTED", "counterfeit"),
    ("COMPLETE", "COMPLETE", "documented"),
    ("CANCELLED", None, "cancelled"),
    ("CANCELLED", "REFUNDED", "cancelled"),
]


@pytest.mark.parametrize(("primary", "supplement", "milestone"), STATES)
def test_every_documented_state_has_its_milestone(primary: str, supplement: str | None, milestone: str) -> None:
    decoded = event_of(state_change(primary, supplement))
    assert decoded.milestone == milestone
    assert decoded.content == StateChange(
        sr_uuid="sr-1", timestamp="2026-03-01T00:00:00Z", state=State(primary=primary, supplement=supplement)
    )


@pytest.mark.parametrize(
    ("primary", "supplement"),
    [
        ("DRAFT", "PENDING"),
        ("QC", None),
        ("QC", "ASSIGNED"),
        ("UNDERWAY", None),
        ("UNDERWAY", "REJECTED"),
        ("COMPLETE", None),
        ("COMPLETE", "PENDING"),
        ("complete", "APPROVED"),
        ("COMPLETE", "approved"),
        ("COMPLETE ", "APPROVED"),
        ("", ""),
        ("SHIPPED", "PENDING"),
    ],
)
def test_an_undocumented_state_is_unrecognized_but_typed(primary: str, supplement: str | None) -> None:
    decoded = event_of(state_change(primary, supplement))
    assert decoded.milestone == "unrecognized"
    assert isinstance(decoded.content, StateChange)


@pytest.mark.parametrize(("primary", "milestone"), [("DRAFT", "draft"), ("CANCELLED", "cancelled"), ("QUEUE", "queued")])
def test_an_absent_supplement_is_null(primary: str, milestone: str) -> None:
    assert event_of({"event_type": "state_change", "state": {"primary": primary}}).milestone == milestone


def test_the_milestones_are_the_closed_list_of_the_facts() -> None:
    documented = {milestone for _, _, milestone in STATES} | {"needs_resubmission", "invalidated", "unrecognized"}
    assert {milestone.value for milestone in Milestone} == documented


# The shapes of the events.


def test_media_rejected_with_messages_is_decoded() -> None:
    content = event((PAYLOADS / "media_rejected.json").read_bytes()).content
    assert isinstance(content, MediaRejected)
    assert content.state is None
    assert content.sides[0].side == "Front"
    assert content.sides[0].message == (
        "The stitching cannot be read. Hold the camera still and fill the frame with the front panel."
    )
    assert content.sides[1] == Side(side="Serial label", reason="Glare", message=None)


def test_media_rejected_with_codes_and_a_state_is_decoded() -> None:
    content = event((PAYLOADS / "media_rejected.coded.json").read_bytes()).content
    assert isinstance(content, MediaRejected)
    assert content.state == State(primary="QC", supplement="REJECTED")
    assert content.sides == [
        Side(
            side="Front",
            side_uuid="0b5d7c1e-93f4-4f7a-8b7f-0c3b5e2a9d10",
            reason="BLURRY",
            reason_description="The photo is blurred",
        )
    ]


def test_invalidate_sr_is_decoded_with_any_code() -> None:
    reason = {"code": "FRAUD", "message": "no"}
    content = event_of({"event_type": "invalidate_sr", "invalidation_reason": reason}).content
    assert content == InvalidateSr(invalidation_reason=Invalidation(code="FRAUD", message="no"))


@pytest.mark.parametrize("name", ["sr_uuid", "reference_id", "timestamp"])
@pytest.mark.parametrize("kept", ["absent", "null"])
def test_a_common_field_may_be_absent_or_null(name: str, kept: str) -> None:
    values = without(state_change("COMPLETE", "APPROVED", reference_id="r"), name) | ({} if kept == "absent" else {name: None})
    decoded = event_of(values)
    assert decoded.milestone == "authentic"
    assert getattr(decoded, name) is None


@pytest.mark.parametrize("sides", [{}, {"sides": []}], ids=str)
def test_media_rejected_without_sides_still_asks_for_photos(sides: dict[str, Any]) -> None:
    assert event_of({"event_type": "media_rejected", **sides}).milestone == "needs_resubmission"


def test_undocumented_fields_are_kept_everywhere() -> None:
    values = state_change("COMPLETE", "REJECTED", extra={"deep": [1, {"x": None}]})
    values["state"]["note"] = "n"
    decoded = event_of(values)
    assert decoded.milestone == "counterfeit"
    assert decoded.values["extra"] == {"deep": [1, {"x": None}]}
    assert decoded.values["state"]["note"] == "n"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"event_type": None},
        {"event_type": 7},
        {"event_type": ["state_change"]},
        {"event_type": {"state_change": 1}},
        {"event_type": ""},
        {"event_type": "STATE_CHANGE"},
        {"event_type": "certificate_issued"},
        {"sr_uuid": "sr-1"},
        without(state_change(), "state"),
        state_change(None),
        state_change(1),
        state_change("COMPLETE", 1),
        state_change("COMPLETE", ["APPROVED"]),
        state_change() | {"state": None},
        state_change() | {"state": "COMPLETE"},
        state_change() | {"state": []},
        state_change() | {"state": [{"primary": "COMPLETE", "supplement": "APPROVED"}]},
        state_change() | {"state": {}},
        state_change() | {"sr_uuid": 12},
        state_change() | {"timestamp": 1772000000},
        {"event_type": "media_rejected", "sides": None},
        {"event_type": "media_rejected", "sides": "Front"},
        {"event_type": "media_rejected", "sides": ["Front"]},
        {"event_type": "media_rejected", "sides": [{"side": 1}]},
        {"event_type": "invalidate_sr", "invalidation_reason": "CANCELLED"},
    ],
    ids=str,
)
def test_an_object_of_another_shape_is_an_unknown_event(values: dict[str, Any]) -> None:
    decoded = event(json.dumps(values).encode())
    assert decoded.content == UnknownEvent()
    assert decoded.milestone == "unrecognized"
    assert decoded.values == values


@pytest.mark.parametrize("value", [7, None, ["x"], {"x": 1}, True])
def test_a_common_field_that_is_not_a_string_reads_as_none(value: Any) -> None:
    decoded = event_of(dict.fromkeys(["event_type", "sr_uuid", "reference_id", "timestamp"], value))
    assert (decoded.event_type, decoded.sr_uuid, decoded.reference_id, decoded.timestamp) == (None, None, None, None)


# Hostile bodies.

DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"null",
        b"true",
        b"7",
        b'"{}"',
        b"[]",
        b'[{"event_type": "state_change"}]',
        b'{"event_type": "state_ch',
        b'{"a": 1}}',
        b'{"a": 1} {"b": 2}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": [NaN]}',
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf[]",
        b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        b'{"\xc3\x28": 1}',
        b'{"a": "\xed\xa0\x80"}',
        '{"a": 1}'.encode("utf-16"),
        b"a=1&b=2",
        b"<xml/>",
        b"\x00",
        b'{"a": "line\nbreak"}',
        b"[" * DEEP + b"]" * DEEP,
        b"[" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_not_a_json_object_is_undecodable_and_the_reason_does_not_quote_it(body: bytes) -> None:
    decoded = decode(body)
    assert isinstance(decoded, Undecodable)
    assert decoded.detail


@pytest.mark.parametrize("said", ["SEKRIT", '"SEKRIT"', '["SEKRIT"]', '{"SEKRIT": "SEKRIT', '{"a": SEKRIT}', '{"SEKRIT": NaN}'])
@pytest.mark.parametrize("ending", [b"", b"\xff"])
def test_the_detail_never_quotes_the_body(said: str, ending: bytes) -> None:
    decoded = decode(said.encode() + ending)
    assert isinstance(decoded, Undecodable)
    assert "SEKRIT" not in repr(decoded)


def test_an_empty_body_and_a_list_have_different_reasons() -> None:
    details = [decoded.detail for body in (b"", b"[]", b"nonsense") if isinstance(decoded := decode(body), Undecodable)]
    assert len(set(details)) == 3


def test_a_byte_order_mark_is_allowed() -> None:
    assert event(b'\xef\xbb\xbf{"event_type": "media_rejected"}').milestone == "needs_resubmission"


def test_a_pretty_printed_body_is_the_same_event(payload: bytes) -> None:
    pretty = json.dumps(json.loads(payload), indent=4, ensure_ascii=False).replace("\n", "\r\n").encode()
    assert event(b"\n\t " + pretty + b"\r\n") == event(payload)


def test_the_last_of_duplicate_keys_counts() -> None:
    assert event(b'{"event_type": "x", "event_type": "media_rejected"}').milestone == "needs_resubmission"
    # The same by the second decoder, which the lone surrogate leads to.
    assert event(b'{"event_type": "x", "event_type": "media_rejected", "a": "\\ud800"}').milestone == "needs_resubmission"


def test_a_number_beyond_a_double_is_accepted() -> None:
    assert event(b'{"a": 1e400}').values == {"a": math.inf}
    assert event(b'{"a": -1e400, "event_type": "media_rejected"}').milestone == "needs_resubmission"


def test_a_big_integer_is_exact() -> None:
    assert event(b'{"a": 123456789012345678901234567890}').values == {"a": 123456789012345678901234567890}


def test_an_integer_of_ten_thousand_digits_raises_nothing() -> None:
    assert isinstance(decode(b'{"a": ' + b"9" * 10_000 + b"}"), Event | Undecodable)


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"\ud800", "\ufffd"),
        (r"\udc00", "\ufffd"),
        (r"a\ud83db", "a\ufffdb"),
        (r"\ud800\ud83d\ude00", "\ufffd😀"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ude00\ud800", "😀\ufffd"),
        (r"\ud800日本", "\ufffd日本"),
        (r"\ufeff\ud800", "\ufeff\ufffd"),
    ],
)
def test_a_lone_surrogate_becomes_the_replacement_character_in_the_event(escaped: str, plain: str) -> None:
    body = f'{{"event_type": "media_rejected", "a{escaped}": ["{escaped}", {{"b": "{escaped}"}}]}}'.encode()
    decoded = event(body)
    assert decoded.milestone == "needs_resubmission"
    assert decoded.values == {"event_type": "media_rejected", f"a{plain}": [plain, {"b": plain}]}
    json.dumps(decoded.values, ensure_ascii=False).encode()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["event_type", "sr_uuid", "reference_id", "timestamp", "state", "sides", "invalidation_reason", "milestone"]
WORDS = ["state_change", "media_rejected", "invalidate_sr", "COMPLETE", "APPROVED", "QC", "CANCELLED", "other"]
near_events = st.dictionaries(
    st.sampled_from(NAMES),
    st.sampled_from(WORDS)
    | st.dictionaries(st.sampled_from(["primary", "supplement", "code"]), st.sampled_from(WORDS) | st.none(), max_size=3)
    | st.lists(st.dictionaries(st.sampled_from(["side", "reason"]), st.sampled_from(WORDS), max_size=2), max_size=3)
    | json_values,
)


@given(body=st.binary(max_size=200))
@example(b'{"a": "\\ud800"')
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_an_event_or_undecodable(body: bytes) -> None:
    assert isinstance(decode(body), Event | Undecodable)


@given(value=json_values)
def test_any_json_value_is_an_event_exactly_when_it_is_an_object(value: Any) -> None:
    decoded = decode(json.dumps(value).encode())
    if isinstance(value, dict):
        assert isinstance(decoded, Event)
    else:
        assert isinstance(decoded, Undecodable)


@settings(max_examples=300)
@given(values=near_events)
def test_any_object_near_an_event_is_decoded_with_all_its_values(values: dict[str, Any]) -> None:
    decoded = event(json.dumps(values).encode())
    assert decoded.values == values
    assert decoded == event_of(values)
    identity(decoded, IDENTITY)


surrogate_text = st.text(st.sampled_from("a日😀\ud800\udbff\udc00\udfff\ufeff"), max_size=6)


@given(text=surrogate_text)
def test_only_surrogates_without_a_partner_are_replaced(text: str) -> None:
    # json.loads joins an escaped pair as JSON says; what is alone after that is replaced one for one.
    joined = json.loads(json.dumps(text))
    assert event(json.dumps({"a": text}).encode()).values == {"a": re.sub("[\ud800-\udfff]", "\ufffd", joined)}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"{}", True),
        (b"[1]", True),
        (b"null", True),
        (b'"\\ud800"', True),
        (b"1e400", True),
        (b"\xef\xbb\xbf{}", True),
        (b"", False),
        (b"NaN", False),
        (b"{", False),
        (b'"\xff"', False),
        (b"[" * DEEP + b"]" * DEEP, False),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else str(value),
)
def test_is_json_accepts_exactly_the_bodies_that_fit_into_a_document(body: bytes, answer: bool) -> None:
    assert is_json(body) is answer


# Identity.


def named(values: dict[str, Any]) -> str | None:
    return identity(event_of(values), IDENTITY)


def test_a_redelivery_has_the_same_identity(payload: bytes) -> None:
    decoded = event(payload)
    found = identity(decoded, IDENTITY)
    assert found == identity(event(payload), IDENTITY)
    assert (found is None) == (decoded.event_type == "certificate_issued")


def test_the_identity_ignores_white_space_key_order_and_other_fields() -> None:
    values = state_change("QC", "REJECTED")
    reordered = dict(reversed(values.items())) | {"reference_id": "other", "note": [1]}
    assert named(reordered) == named(json.loads(json.dumps(values, indent=2)))
    assert named(values) is not None


def test_the_published_payloads_have_an_identity_each() -> None:
    found = [identity(event(path.read_bytes()), IDENTITY) for path in PAYLOADS.glob("*.json")]
    known = [one for one in found if one is not None]
    assert len(known) == len(set(known)) == len(PUBLISHED) - 1


@pytest.mark.parametrize("event_type", ["state_change", "media_rejected", "invalidate_sr"])
def test_the_second_round_of_a_quality_control_is_another_event(event_type: str) -> None:
    first = state_change("QC", "REJECTED") | {"event_type": event_type}
    second = first | {"timestamp": "2026-03-01T00:00:01Z"}
    assert named(first) is not None
    assert named(first) != named(second)


def test_timestamps_are_compared_as_strings() -> None:
    first = state_change(timestamp="2026-03-01T00:00:00Z")
    assert named(first) != named(first | {"timestamp": "2026-03-01T00:00:00.000Z"})


def test_without_timestamp_the_identity_is_the_published_key_and_rounds_collide() -> None:
    keys = {"media_rejected": ["sr_uuid"]}
    rounds = [event_of({"event_type": "media_rejected", "sr_uuid": "s", "timestamp": time}) for time in ("1", "2")]
    assert identity(rounds[0], keys) == identity(rounds[1], keys) is not None


@pytest.mark.parametrize(
    "change",
    [{"sr_uuid": "sr-2"}, {"state": {"primary": "UNDERWAY", "supplement": "PENDING"}}, {"state": {"primary": "QC"}}],
    ids=str,
)
def test_every_field_of_an_identity_counts(change: dict[str, Any]) -> None:
    assert named(state_change() | change) != named(state_change())
    assert named(state_change() | change) is not None


def test_two_event_types_are_never_the_same_event() -> None:
    values = {"sr_uuid": "s", "timestamp": "t"}
    found = {named({"event_type": event_type, **values}) for event_type in ("media_rejected", "invalidate_sr")}
    assert len(found) == 2
    assert None not in found


def test_null_and_absent_are_equal_for_the_supplement() -> None:
    absent = state_change() | {"state": {"primary": "DRAFT"}}
    assert named(absent) == named(state_change("DRAFT", None))
    assert named(absent) is not None
    assert named(absent) != named(state_change("DRAFT", "null"))


@pytest.mark.parametrize("name", ["sr_uuid", "timestamp", "state"])
def test_a_message_without_one_of_its_other_identity_fields_has_no_identity(name: str) -> None:
    assert named(without(state_change(), name)) is None


def test_a_message_without_a_primary_state_has_no_identity() -> None:
    assert named(state_change() | {"state": {"supplement": "PENDING"}}) is None


@pytest.mark.parametrize("values", [{}, {"event_type": None}, {"event_type": 1}, {"event_type": "certificate_issued"}], ids=str)
def test_a_type_without_identity_fields_has_no_identity(values: dict[str, Any]) -> None:
    assert named(values | {"sr_uuid": "s", "timestamp": "t"}) is None


def test_an_empty_list_turns_the_identity_of_a_type_off() -> None:
    keys = IDENTITY | {"media_rejected": []}
    media = event_of({"event_type": "media_rejected", "sr_uuid": "s", "timestamp": "t"})
    assert identity(media, keys) is None
    assert identity(event_of(state_change()), keys) == named(state_change())


def test_a_new_type_can_be_given_an_identity() -> None:
    keys = {"certificate_issued": ["certificate.number"]}
    found = [
        identity(event_of({"event_type": "certificate_issued", "certificate": {"number": n}}), keys) for n in ("a", "b", "a")
    ]
    assert found[0] == found[2] is not None
    assert found[0] != found[1]


@pytest.mark.parametrize("pair", [("1", 1), (True, 1), (False, 0), ("true", True), ("", 0), ("a,b", ["a", "b"])], ids=str)
def test_identity_values_are_compared_without_conversion(pair: tuple[Any, Any]) -> None:
    first, second = (named({"event_type": "media_rejected", "sr_uuid": value, "timestamp": "t"}) for value in pair)
    assert first is not None
    assert second is not None
    assert first != second


def test_identity_fields_never_merge_into_each_other() -> None:
    pairs = [('a","b', "c"), ("a", 'b","c'), ("a,b", "c"), ("a", "b,c")]
    found = [named({"event_type": "media_rejected", "sr_uuid": one, "timestamp": other}) for one, other in pairs]
    assert len(set(found)) == len(pairs)


def test_deeply_nested_identity_values_raise_nothing() -> None:
    for depth in range(1, 1200, 13):
        body = b'{"event_type":"media_rejected","timestamp":"t","sr_uuid":' + b"[" * depth + b"]" * depth + b"}"
        decoded = decode(body)
        if isinstance(decoded, Event):
            assert identity(decoded, IDENTITY) is not None


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", {"b": {"c": 1}}), ("a.b.c", 1), ("a.x", None), ("a.b.c.d", None), ("list.0", None), ("null", None), ("", None)],
)
def test_lookup_follows_a_dotted_path_through_objects_only(path: str, value: Any) -> None:
    assert lookup({"a": {"b": {"c": 1}}, "list": [1], "null": None}, path) == value
