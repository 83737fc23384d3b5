"""A delivery for previews: it looks as a lane would make it, and belongs to no message."""

from __future__ import annotations

from gateway.core.events import Event, decode
from gateway.core.ledger import Facts
from gateway.core.records import Message, delivery_id, message_about
from gateway.host.clock import Clock
from gateway.sinks.base import Outgoing


def first_attempt(
    sink: str,
    event: Event,
    body: bytes,
    source: str,
    clock: Clock,
    facts: Facts | None = None,
    partner: bytes | None = None,
) -> Outgoing:
    """Return the first attempt of an event that arrives now; its ids belong to no message.

    Args:
        partner: the body of the event that goes out in the same message; None if there is none.
    """
    message = _message(event, body, source, clock, facts)
    other = None
    if partner is not None:
        decoded = decode(partner)
        other = _message(decoded if isinstance(decoded, Event) else None, partner, source, clock, facts)
    return Outgoing(delivery_id(message.id, sink), message, attempt=1, partner=other)


def _message(event: Event | None, body: bytes, source: str, clock: Clock, facts: Facts | None) -> Message:
    return message_about(
        event,
        body,
        message_id=clock.new_id(),
        source=source,
        received_at=clock.now(),
        sender_id=f"msg_{clock.new_id()[:27]}",
        facts=facts,
    )
