"""Conversions between values and columns: instants are kept in milliseconds, the texts of senders as bytes."""

from __future__ import annotations

from gateway.core.ledger import decode_facts
from gateway.core.records import Message


def milliseconds(instant: float) -> int:
    """Return an instant in Unix seconds as the store keeps it."""
    return round(instant * 1000)


def milliseconds_or_none(instant: float | None) -> int | None:
    """Return an instant as the store keeps it, None for None."""
    return None if instant is None else milliseconds(instant)


MESSAGE_COLUMNS = (
    "m.id, m.source, m.sender_id, m.received_ms, m.content_type, m.body, m.event_type, m.milestone, m.sr_uuid, m.reference_id,"
    " (SELECT e.facts FROM entries e WHERE e.message = m.seq)"
)
"""The columns of `message_of`, of a table of messages that the query calls `m`."""


def message_of(row: tuple[object, ...]) -> Message:
    """Build a message from MESSAGE_COLUMNS."""
    message_id, source, sender_id, received_ms, content_type, body, event_type, milestone, sr_uuid, reference_id, facts = row
    assert isinstance(message_id, str) and isinstance(source, str) and isinstance(body, bytes) and isinstance(received_ms, int)
    assert milestone is None or isinstance(milestone, str)
    return Message(
        id=message_id,
        source=source,
        sender_id=text(sender_id),
        received_at=received_ms / 1000,
        content_type=text(content_type),
        body=body,
        event_type=text(event_type),
        milestone=milestone,
        sr_uuid=text(sr_uuid),
        reference_id=text(reference_id),
        facts=decode_facts(facts) if isinstance(facts, bytes) else None,
    )


def seconds(instant_ms: int | None) -> float | None:
    """Return an instant that the store keeps in Unix seconds, None for NULL."""
    return None if instant_ms is None else instant_ms / 1000


def text(blob: object) -> str | None:
    """Return a text of a sender, None for NULL."""
    return blob.decode() if isinstance(blob, bytes) else None


def blob(text: str | None) -> bytes | None:
    """Return a text of a sender as the store keeps it: lone surrogates and NUL do not survive a TEXT column."""
    return text.encode() if text is not None else None
