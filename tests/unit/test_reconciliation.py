"""An answer of Legitmark's API is read with suspicion, and counts as a disagreement only if it is newer than what is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import IDENTITY, Milestone, State, identity
from gateway.core.instants import parse_instant
from gateway.core.reconciliation import (
    MOST_ANSWER,
    Busy,
    Current,
    KnownState,
    NotFound,
    Refused,
    Unanswered,
    Unusable,
    backoff,
    compare,
    is_gap,
    is_uuid,
    read_reply,
    state_change,
)
from gateway.core.routing import GATEWAY, RECONCILE
from tests.support.fake_legitmark import document

UUID = "b16c763b-1723-455d-ba29-164418044886"
OTHER = "1ed24ae2-45d8-47ff-bd07-4efc69cb6bc7"
AT = "2026-02-10T12:00:00.000Z"
INSTANT = parse_instant(AT)


def read(body: object, status: int = 200, after: float | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(UUID, status, f"HTTP {status}", raw, after)


def current(primary: str, supplement: str | None = None, at: str = AT) -> Current:
    reply = read(document(UUID, primary, supplement, at))
    assert isinstance(reply, Current)
    return reply


def known(state: str | None, at: float | None = INSTANT, *, invalidated: bool = False) -> KnownState:
    return KnownState(sr_uuid=UUID, state=state, at=at, invalidated=invalidated)


def test_an_answer_is_read_as_the_sdk_documents_it() -> None:
    body = document(UUID, "COMPLETE", "APPROVED", AT, external_id="BAG-1") | {"rc_hit": True, "rc_key": "sr:1"}
    assert read(body) == Current(
        sr_uuid=UUID,
        reference_id="BAG-1",
        state=State("COMPLETE", "APPROVED"),
        updated_at=INSTANT,
        updated_text=AT,
        cached=True,
    )


def test_an_answer_may_lack_what_is_optional_and_name_the_uuid_in_capitals() -> None:
    body = {"sr": {"uuid": UUID.upper(), "state": {"primary": "CANCELLED"}, "updated_at": "2026-02-10T12:00:00Z"}}
    reply = read(body)
    assert isinstance(reply, Current)
    assert (reply.sr_uuid, reply.state, reply.reference_id, reply.cached) == (UUID, State("CANCELLED"), None, False)


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (404, NotFound()),
        (401, Refused(401, "HTTP 401")),
        (403, Refused(403, "HTTP 403")),
        (429, Busy("HTTP 429", 7.0)),
        (500, Unanswered("HTTP 500")),
        (503, Unanswered("HTTP 503")),
        (301, Unusable("HTTP 301")),
        (204, Unusable("HTTP 204")),
        (400, Unusable("HTTP 400")),
    ],
)
def test_a_status_says_what_to_do(status: int, reply: object) -> None:
    assert read(b"whatever", status, 7.0) == reply


GOOD = document(UUID, "QC", "PENDING", AT)


def with_request(**changes: Any) -> dict[str, Any]:
    return GOOD | {"sr": GOOD["sr"] | changes}


@pytest.mark.parametrize("odd", [12, "", None, "x" * 1000, "\x1b[2J", ["BAG"]])
def test_an_odd_field_that_is_only_shown_does_not_spoil_the_answer(odd: object) -> None:
    reply = read(with_request(external_id=odd) | {"rc_hit": odd, "success": None})
    assert isinstance(reply, Current) and not reply.reference_id and not reply.cached


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (document(OTHER, "QC", "PENDING", AT), "about another service request"),
        (b" " * (MOST_ANSWER + 1), "more than 1 MiB"),
        ([], "no sr"),
        ({"success": True}, "no sr"),
        ({"sr": None}, "no sr"),
        (with_request(state="QC"), "no sr"),
        (with_request(state={"primary": None}), "no sr"),
        (with_request(updated_at=None), "no sr"),
        (with_request(updated_at="yesterday"), "updated_at"),
        (with_request(state={"primary": "x" * 1000}), "cannot be one"),
        (with_request(state={"primary": " ", "supplement": "PENDING"}), "cannot be one"),
        (with_request(state={"primary": "QC\n", "supplement": "PENDING"}), "cannot be one"),
        (document(UUID, "QC", "PENDING", AT) | {"success": False}, "did not succeed"),
        (b'{"sr": {"uuid": "%b", "state": {"primary": "\\ud83d"}, "updated_at": "2026"}}' % UUID.encode(), "cannot be one"),
    ],
)
def test_an_answer_that_cannot_be_meant_is_not_used(body: object, wrong: str) -> None:
    reply = read(body)
    assert isinstance(reply, Unusable)
    assert wrong in reply.detail


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", json.dumps(GOOD).encode()[:-9], b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_no_json_may_be_better_the_next_time(body: bytes) -> None:
    assert isinstance(read(body), Unanswered)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_answer_is_an_exception(value: object) -> None:
    for body in (value, {"sr": value}, with_request(state=value), with_request(updated_at=value)):
        assert isinstance(read(json.dumps(body).encode()), Current | Unusable | Unanswered)


@given(st.binary(max_size=200))
def test_no_bytes_are_an_exception(body: bytes) -> None:
    assert isinstance(read(body), Unusable | Unanswered)


@pytest.mark.parametrize(
    ("knows", "told", "result"),
    [
        (known("COMPLETE/APPROVED"), current("COMPLETE", "APPROVED"), "same"),
        (known("COMPLETE/APPROVED", INSTANT - 9), current("COMPLETE", "APPROVED"), "same"),
        (known("QC/PENDING", INSTANT - 1), current("COMPLETE", "APPROVED"), "differs"),
        (known("QC/PENDING", INSTANT), current("COMPLETE", "APPROVED"), "older"),
        (known("QC/PENDING", INSTANT + 1), current("DRAFT"), "older"),
        (known("CANCELLED", INSTANT - 1), current("CANCELLED"), "same"),
        (known("CANCELLED", INSTANT - 1), current("CANCELLED", "BY_PARTNER"), "differs"),
        (known("QC/PENDING", INSTANT - 1, invalidated=True), current("CANCELLED"), "same"),
        (known("QC/PENDING", INSTANT - 1, invalidated=True), current("UNDERWAY", "ASSIGNED"), "differs"),
        (known(None, None, invalidated=True), current("CANCELLED"), "same"),
        (known(None, None), current("CANCELLED"), "differs"),
        (known("QC/PENDING", None), current("QC", "REJECTED"), "differs"),
        (None, current("DRAFT"), "differs"),
    ],
)
def test_an_answer_differs_only_if_it_is_newer(knows: KnownState | None, told: Current, result: str) -> None:
    assert compare(knows, told) == result


def test_the_backoff_doubles_from_one_second_to_five_minutes() -> None:
    assert [backoff(failures, 0.0) for failures in (1, 2, 3, 9, 10, 1000)] == [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
    assert backoff(4, 1.0) == pytest.approx(8.8)
    assert backoff(1, -1.0) == 1.0


@pytest.mark.parametrize(("after", "seconds"), [(0.0, 1.0), (60.0, 60.0), (86400.0, 300.0)])
def test_the_server_names_the_wait_within_the_same_bounds(after: float, seconds: float) -> None:
    assert backoff(5, 1.0, after) == seconds


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [(None, 1e9, False), (0.0, 9300.0, False), (0.0, 9300.1, True), (100.0, 0.0, False)],
)
def test_a_gap_is_longer_than_the_sender_tries(before: float | None, after: float, gap: bool) -> None:
    assert is_gap(before, after, 155 * 60.0) is gap


def test_an_event_made_of_an_answer_says_so_and_is_the_same_event_each_time() -> None:
    event = state_change(current("COMPLETE", "REJECTED"))
    assert event.milestone is Milestone.COUNTERFEIT
    assert (event.sr_uuid, event.timestamp, event.values["reconciled"]) == (UUID, AT, True)
    assert identity(event, IDENTITY) == identity(state_change(current("COMPLETE", "REJECTED")), IDENTITY) is not None
    assert RECONCILE != GATEWAY


@pytest.mark.parametrize("text", [UUID, UUID.upper()])
def test_a_uuid_is_one_in_either_case(text: str) -> None:
    assert is_uuid(text)


@pytest.mark.parametrize("text", ["", "sr-1", f"{UUID}/submit", f"{UUID}\n", UUID[:-1], "../" + UUID[3:], UUID.replace("-", "")])
def test_a_text_that_would_change_the_path_is_no_uuid(text: str) -> None:
    assert not is_uuid(text)
