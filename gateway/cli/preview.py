"""A delivery for previews: it looks as a lane would make it, and belongs to no message."""

from __future__ import annotations

from gateway.core.events import Event
from gateway.core.ledger import Facts
from gateway.core.records import delivery_id, message_about
from gateway.host.clock import Clock
from gateway.sinks.base import Outgoing


def first_attempt(sink: str, event: Event, body: bytes, source: str, clock: Clock, facts: Facts | None = None) -> Outgoing:
    """Return the first attempt of an event that arrives now; its ids belong to no message."""
    message = message_about(
        event,
        body,
        message_id=clock.new_id(),
        source=source,
        received_at=clock.now(),
        sender_id=f"msg_{clock.new_id()[:27]}",
        facts=facts,
    )
    return Outgoing(delivery_id(message.id, sink), message, attempt=1)
