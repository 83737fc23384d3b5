"""The courses that the service requests of the large store take: ten messages each, judged once by the gateway's own judge.

A request follows its course from an instant of its own; everything else about its messages is the same for all that share it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from gateway.core.events import Event, Milestone, decode
from gateway.core.judge import judge
from gateway.core.ledger import Course, ServiceRequest, encode_facts
from gateway.core.values import rfc3339

UUID, REFERENCE, STAMP = "{UUID}", "{REFERENCE}", "{STAMP}"
"""The places in a body where the names of the request and the instant of the event go."""
EVENTS: Final = 10
"""Messages of a request."""
_LAGS: Final = (0.0, 0.0005, 0.001, 0.0012, 0.002, 0.003, 0.004, 0.006, 0.01, 0.04)
"""When each of them comes, as a part of the time that the store covers: from an hour to some days of 90."""
KINDS: Final = 16
"""A request has the course of its number modulo this."""
_ORIGIN_MS: Final = 1_760_000_000_000
_LATE: Final = "late"
"""A mark in a course: the event before it happened after it, and came before it."""

_STATES = {
    "draft": ("DRAFT", None),
    "pending": ("QC", "PENDING"),
    "rejected": ("QC", "REJECTED"),
    "approved": ("QC", "APPROVED"),
    "queue": ("QUEUE", "GENERAL"),
    "open": ("UNDERWAY", "PENDING"),
    "assigned": ("UNDERWAY", "ASSIGNED"),
    "judged": ("UNDERWAY", "APPROVED"),
    "authentic": ("COMPLETE", "APPROVED"),
    "counterfeit": ("COMPLETE", "REJECTED"),
    "documented": ("COMPLETE", "COMPLETE"),
    "cancelled": ("CANCELLED", None),
    "escalated": ("ESCALATED", "SENIOR"),
}
_COURSES = (
    (5, "pending rejected media pending rejected media pending approved authentic documented"),
    (5, "draft pending approved queue open assigned judged authentic documented documented"),
    (2, "draft pending rejected media pending approved open assigned judged counterfeit"),
    (1, "draft pending assigned approved:late judged counterfeit authentic:late documented documented documented"),
    (1, "draft pending approved open assigned judged authentic documented cancelled invalidated"),
    (1, "draft pending approved queue escalated open assigned judged counterfeit documented"),
    (1, "draft pending rejected media pending rejected media pending rejected media"),
)
"""How many of sixteen requests take it, and the events in the order of their arrival."""


class Message(Struct, frozen=True):
    """The message of a course that comes at one place in it."""

    event_type: str
    milestone: Milestone
    facts: bytes
    body: str
    identity: str
    behind_ms: int
    """How long before its arrival the event happened."""


class JudgedCourse(Struct, frozen=True):
    """A course: its messages, and the row of its request after each of them."""

    messages: tuple[Message, ...]
    rows: tuple[ServiceRequest, ...]


def lags(steps: int) -> tuple[int, ...]:
    """Return how many steps after the first message of a request each of its messages comes, of a store with so many steps."""
    return tuple(round(part * steps) for part in _LAGS)


def judged(steps: int, step_ms: int) -> tuple[JudgedCourse, ...]:
    """Judge the courses. The course of a request is the one at its number modulo KINDS; it begins at `_ORIGIN_MS`."""
    courses = [_judged(text.split(), lags(steps), step_ms) for count, text in _COURSES for _ in range(count)]
    assert len(courses) == KINDS
    return tuple(courses)


def at(row: ServiceRequest, begins_ms: int) -> ServiceRequest:
    """Return the row of a request whose course begins at this instant."""
    by = begins_ms - _ORIGIN_MS

    def moved(instant: int | None) -> int | None:
        return None if instant is None else instant + by

    course = Course(*(moved(instant) for instant in structs.astuple(row.course)))
    return structs.replace(
        row,
        state_at_ms=moved(row.state_at_ms),
        first_seen_ms=row.first_seen_ms + by,
        last_seen_ms=row.last_seen_ms + by,
        course=course,
        pendings=tuple(instant + by for instant in row.pendings),
        rejecteds=tuple(instant + by for instant in row.rejecteds),
        medias=tuple(instant + by for instant in row.medias),
        verdict_at_ms=moved(row.verdict_at_ms),
    )


def offset_ms(place: int, step_ms: int) -> int:
    """Return how long after the begin of its step the message at a place in a course comes."""
    return place * (step_ms // EVENTS)


def body(kind: str, *, round_: int = 1) -> dict[str, Any]:
    """Return the body of an event, some 470 bytes long when its names and its instant are filled in."""
    common = {"sr_uuid": UUID, "reference_id": REFERENCE, "timestamp": STAMP}
    more = {"brand": "Maison Exemple", "category": "handbag", "tier": "standard", "region": "JP", "note": "x" * 170}
    if kind == "media":
        sides = [
            {"side": "Front", "reason": "Out of focus", "message": f"Round {round_}: hold the camera still."},
            {"side": "Label", "reason": "Glare"},
        ]
        return {"event_type": "media_rejected", **common, "sides": sides, **more}
    if kind == "invalidated":
        return {
            "event_type": "invalidate_sr",
            **common,
            "invalidation_reason": {"code": "CANCELLED", "message": "withdrawn"},
        } | more
    primary, supplement = _STATES[kind]
    return {"event_type": "state_change", **common, "state": {"primary": primary, "supplement": supplement}, **more}


def _judged(words: Sequence[str], lag: Sequence[int], step_ms: int) -> JudgedCourse:
    messages, rows = list[Message](), list[ServiceRequest]()
    row: ServiceRequest | None = None
    arrivals = [_ORIGIN_MS + lag[place] * step_ms + offset_ms(place, step_ms) for place in range(EVENTS)]
    for place, (kind, behind) in enumerate(_with_delays(words, arrivals)):
        text = json.dumps(body(kind), separators=(",", ":"))
        event = decode(text.replace(STAMP, rfc3339((arrivals[place] - behind) / 1000)).encode())
        assert isinstance(event, Event) and event.event_type is not None
        facts, row = judge(row, event, arrivals[place] / 1000)
        messages.append(Message(event.event_type, event.milestone, encode_facts(facts), text, _identity(kind), behind))
        rows.append(row)
    return JudgedCourse(tuple(messages), tuple(rows))


def _with_delays(words: Sequence[str], arrivals: Sequence[int]) -> Iterator[tuple[str, int]]:
    for place, word in enumerate(words):
        kind, _, how = word.partition(":")
        yield kind, (arrivals[place] - arrivals[place - 1] + 60_000) if how == _LATE else 800


def _identity(kind: str) -> str:
    of = body(kind)
    values: list[object] = [of["event_type"], UUID]
    if "state" in of:
        values += [of["state"]["primary"], of["state"]["supplement"]]
    return msgspec.json.encode([*values, STAMP]).decode()
