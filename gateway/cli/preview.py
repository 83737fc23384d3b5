"""A delivery for previews: it looks as a lane would make it, and belongs to no message."""

from __future__ import annotations

from gateway.core.events import Event
from gateway.core.records import delivery_id
from gateway.host.clock import Clock
from gateway.sinks.base import Outgoing


def first_attempt(sink: str, event: Event, body: bytes, source: str, clock: Clock) -> Outgoing:
    """Return the first attempt of an event that arrives now; its ids belong to no message."""
    message_id = clock.new_id()
    return Outgoing(
        delivery_id=delivery_id(message_id, sink),
        message_id=message_id,
        sender_id=f"msg_{clock.new_id()[:27]}",
        source=source,
        received_at=clock.now(),
        event=event,
        body=body,
        content_type="application/json",
        attempt=1,
    )
