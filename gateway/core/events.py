"""Decodes the bytes of a verified message into an event, with its milestone and its identity.

It is tolerant (docs/design.md, promise 2): an object of an unknown shape becomes an `UnknownEvent`, and a body that is not a JSON
object becomes `Undecodable`. Neither is an exception, so neither can lose the message. The shapes are those of Legitmark's public
webhook reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, field

from gateway.core.instants import parse_instant

IDENTITY: dict[str, list[str]] = {
    "state_change": ["sr_uuid", "state.primary", "state.supplement", "timestamp"],
    "media_rejected": ["sr_uuid", "timestamp"],
    "invalidate_sr": ["sr_uuid", "timestamp"],
}
"""The fields that make two messages the same event, by event type.

Legitmark's guide proposes them without `timestamp`. That drops the second round of a quality control: it has the same states and
the same service request, at another time.
"""


class Milestone(StrEnum):
    """The meaning of an event for a partner. The list is closed."""

    DRAFT = "draft"
    QC_PENDING = "qc_pending"
    QC_REJECTED = "qc_rejected"
    QC_APPROVED = "qc_approved"
    QC_COMPLETE = "qc_complete"
    QUEUED = "queued"
    AWAITING_ASSIGNMENT = "awaiting_assignment"
    IN_PROGRESS = "in_progress"
    CONCLUDING = "concluding"
    AUTHENTIC = "authentic"
    COUNTERFEIT = "counterfeit"
    DOCUMENTED = "documented"
    CANCELLED = "cancelled"
    NEEDS_RESUBMISSION = "needs_resubmission"
    INVALIDATED = "invalidated"
    UNRECOGNIZED = "unrecognized"


ANY = object()
STATES: dict[tuple[str, object], Milestone] = {
    ("DRAFT", None): Milestone.DRAFT,
    ("QC", "PENDING"): Milestone.QC_PENDING,
    ("QC", "REJECTED"): Milestone.QC_REJECTED,
    ("QC", "APPROVED"): Milestone.QC_APPROVED,
    ("QC", "COMPLETE"): Milestone.QC_COMPLETE,
    ("QUEUE", ANY): Milestone.QUEUED,
    ("UNDERWAY", "PENDING"): Milestone.AWAITING_ASSIGNMENT,
    ("UNDERWAY", "ASSIGNED"): Milestone.IN_PROGRESS,
    ("UNDERWAY", "APPROVED"): Milestone.CONCLUDING,
    ("COMPLETE", "APPROVED"): Milestone.AUTHENTIC,
    ("COMPLETE", "REJECTED"): Milestone.COUNTERFEIT,
    ("COMPLETE", "COMPLETE"): Milestone.DOCUMENTED,
    ("CANCELLED", ANY): Milestone.CANCELLED,
}


class State(Struct, frozen=True):
    primary: str
    supplement: str | None = None

    @property
    def text(self) -> str:
        """The state as rules and people write it, such as `QC/PENDING`, or `DRAFT` if it has no supplement."""
        return self.primary if self.supplement is None else f"{self.primary}/{self.supplement}"


class Side(Struct, frozen=True):
    """One rejected photo. The two published shapes differ in `message` and `reason_description`."""

    side: str | None = None
    reason: str | None = None
    message: str | None = None
    side_uuid: str | None = None
    reason_description: str | None = None


class Invalidation(Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Common(Struct, frozen=True, tag_field="event_type"):
    sr_uuid: str | None = None
    reference_id: str | None = None
    timestamp: str | None = None


class StateChange(_Common, frozen=True, tag="state_change", kw_only=True):
    state: State


class MediaRejected(_Common, frozen=True, tag="media_rejected"):
    sides: list[Side] = field(default_factory=list)
    state: State | None = None


class InvalidateSr(_Common, frozen=True, tag="invalidate_sr"):
    invalidation_reason: Invalidation | None = None


class UnknownEvent(Struct, frozen=True):
    """An event of another type, or of a known type with another shape. It is routed and delivered like any other."""


Content = StateChange | MediaRejected | InvalidateSr | UnknownEvent
_KINDS: dict[str, type[StateChange | MediaRejected | InvalidateSr]] = {
    "state_change": StateChange,
    "media_rejected": MediaRejected,
    "invalidate_sr": InvalidateSr,
}
EVENT_TYPES = frozenset(_KINDS)
"""The event types that Legitmark documents. A bounded label says `other` for every other type."""


class Event(Struct, frozen=True):
    values: dict[str, Any]
    """The body, decoded once to plain values, which patterns, templates and the JSONL sink see."""
    content: Content
    milestone: Milestone
    event_type: str | None
    """The type of the event. It and the next three are None if the body has no such field, or one that is not text."""
    sr_uuid: str | None
    reference_id: str | None
    timestamp: str | None

    def instant(self) -> float | None:
        """Return the event's own timestamp in Unix seconds, UTC; None if it is no instant. Without a zone it counts as UTC."""
        try:
            return parse_instant(self.timestamp or "")
        except ValueError:
            return None


class Undecodable(Struct, frozen=True):
    """An authentic body that is not a JSON object. It is kept, and quarantined."""

    detail: str
    """A description of the body, which never quotes it."""


def decode(body: bytes) -> Event | Undecodable:
    """Decode a body: with msgspec first, then with the standard library (docs/reference.md, "Duplicates and quarantine")."""
    try:
        values = _decode_values(body)
    except (ValueError, RecursionError):
        # json.JSONDecodeError and UnicodeDecodeError are ValueErrors; their texts quote the body, so none is passed on.
        return Undecodable(detail="the body is not JSON" if body else "the body is empty")
    if not isinstance(values, dict):
        return Undecodable(detail="the body is JSON, but not an object")
    return event_of(values)


def event_of(values: dict[str, Any]) -> Event:
    """Return the event that plain values mean. Never fails."""
    content = _content(values)
    return Event(
        values=values,
        content=content,
        milestone=_milestone(content),
        event_type=_text(values, "event_type"),
        sr_uuid=_text(values, "sr_uuid"),
        reference_id=_text(values, "reference_id"),
        timestamp=_text(values, "timestamp"),
    )


def identity(event: Event, fields: Mapping[str, Sequence[str]]) -> str | None:
    """Return the event type and its identity fields as a JSON list, or None if the event has no identity.

    Without an identity, only the sender's id tells a duplicate. null and absent are equal for `state.supplement`; an event that
    lacks any other of its identity fields has none.
    """
    event_type = event.event_type
    paths = fields.get(event_type) if event_type is not None else None
    if not paths:
        return None
    values: list[object] = [event_type]
    for path in paths:
        value = lookup(event.values, path)
        if value is None and path != "state.supplement":
            return None
        values.append(value)
    try:
        return msgspec.json.encode(values).decode()
    except (ValueError, OverflowError, RecursionError):
        return None  # lists nested by the hundred, integers beyond 64 bits: nothing that identifies an event


def lookup(values: Any, path: str) -> Any:
    """Return the value at a dotted path through nested objects, or None if there is none."""
    for name in _names(path):
        if not isinstance(values, dict):
            return None
        values = values.get(name)
    return values


@lru_cache(maxsize=256)
def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def is_json(body: bytes) -> bool:
    """Return True if a body can be embedded in a JSON document. A byte order mark before it does not count."""
    try:
        _decode_values(body)
    except (ValueError, RecursionError):
        return False
    return True


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _content(values: dict[str, Any]) -> Content:
    event_type = values.get("event_type")
    kind = _KINDS.get(event_type) if isinstance(event_type, str) else None
    if kind is None:
        return UnknownEvent()
    try:
        # Into the one struct: for a union, msgspec would build its plan again at each call, which costs ten times as much.
        return msgspec.convert(values, kind)
    except (ValueError, RecursionError):
        return UnknownEvent()


def _milestone(content: Content) -> Milestone:
    match content:
        case StateChange():
            state = content.state
            found = STATES.get((state.primary, state.supplement)) or STATES.get((state.primary, ANY))
            return found or Milestone.UNRECOGNIZED
        case MediaRejected():
            return Milestone.NEEDS_RESUBMISSION
        case InvalidateSr():
            return Milestone.INVALIDATED
        case UnknownEvent():
            return Milestone.UNRECOGNIZED


def _decode_values(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        # msgspec refuses lone surrogates, which a JavaScript sender can produce, numbers beyond a double, and a
        # byte order mark. The standard library takes them all.
        return _without_surrogates(json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
