"""The answers of the store about messages and deliveries, as typed documents."""

from __future__ import annotations

from msgspec import Struct


class Ids(Struct, frozen=True):
    """The fields of a message that an audit line shows: everything except the body, which may be large."""

    id: str
    sender_id: str | None
    source: str
    event_type: str | None
    milestone: str | None
    sr_uuid: str | None
    reference_id: str | None


class Chosen(Struct, frozen=True):
    """A message that matches a selection, without its body."""

    seq: int
    source: str
    quarantined: bool
