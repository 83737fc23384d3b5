"""The audit event of each settlement: which one it is, and its fields. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.audit_event_kinds import MessageEvent
from gateway.core.audit_events import (
    DeliveryDead,
    DeliveryDeferred,
    DeliveryDelivered,
    DeliveryDiscarded,
    DeliveryJoined,
    DeliveryReplayed,
    DeliveryRetrying,
    DeliverySuppressed,
)
from gateway.core.documents import Ids
from gateway.core.outcome import Defer, Outcome, Reason
from gateway.core.records import Attempt, Joined, Message, Owed, delivery_id
from gateway.core.retry import Transition
from gateway.core.values import rfc3339

DISCARDED = "it was discarded meanwhile"
"""The detail of `delivery.delivered` if a person had discarded the delivery before the sink took it."""

_DELIVERY_EVENTS: dict[str, type[MessageEvent]] = {
    event.name: event
    for event in (DeliveryDelivered, DeliveryRetrying, DeliveryDeferred, DeliveryDead, DeliveryReplayed, DeliveryDiscarded)
}


def suppressed_event(message: Message | Ids, sink: str) -> DeliverySuppressed:
    """Build the event of a delivery that is not made because its message is late."""
    return DeliverySuppressed(sink=sink, delivery_id=delivery_id(message.id, sink), reason=Reason.STALE)


def joined_event(message: Message | Ids, joined: Joined) -> DeliveryJoined:
    """Build the event of a delivery that ended because another one tells its message."""
    sink = joined.sink
    return DeliveryJoined(
        sink=sink, delivery_id=delivery_id(message.id, sink), told_by=delivery_id(joined.by, sink), reason=Reason.JOINED
    )


def settled_event(transition: Transition, outcome: Outcome | None) -> type[MessageEvent]:
    """Return the event that tells how a delivery left `queued`, or why it stays; `outcome` is None if no attempt was made."""
    if transition.state == "delivered":
        return DeliveryDelivered
    if transition.state == "dead":
        return DeliveryDead
    return DeliveryDeferred if isinstance(outcome, Defer) else DeliveryRetrying


def settled(owed: Owed, transition: Transition, attempt: Attempt | None, *, in_time: bool) -> MessageEvent:
    """Build the event of a settlement.

    Args:
        attempt: None if the delivery expired while it waited.
        in_time: False if a person had discarded the delivery before the sink took it.
    """
    sink, delivery_id = owed.sink, owed.delivery_id
    reason = transition.reason or Reason.BUG  # only a delivered one has none
    if attempt is None:
        return DeliveryDead(sink=sink, delivery_id=delivery_id, reason=reason)
    outcome, number, duration_ms = attempt.outcome, attempt.number, attempt.duration_ms
    status, detail = outcome.status, (outcome.detail or None) if in_time else DISCARDED
    if transition.state == "delivered":
        return DeliveryDelivered(
            sink=sink, delivery_id=delivery_id, attempt=number, status=status, duration_ms=duration_ms, detail=detail
        )
    if transition.due_at is None:
        return DeliveryDead(
            sink=sink,
            delivery_id=delivery_id,
            attempt=number,
            status=status,
            duration_ms=duration_ms,
            reason=reason,
            detail=detail,
        )
    event = DeliveryDeferred if isinstance(outcome, Defer) else DeliveryRetrying
    return event(
        sink=sink,
        delivery_id=delivery_id,
        attempt=number,
        status=status,
        duration_ms=duration_ms,
        reason=reason,
        detail=detail,
        next_attempt_at=rfc3339(transition.due_at),
    )


def delivery_event(name: str, **fields: Any) -> MessageEvent:
    """Build an event about a delivery from facts that were stored under its name; None stands for a fact that does not apply.

    Raises msgspec.ValidationError if a fact that the event needs is missing, and KeyError if there is no such event.
    """
    return msgspec.convert({field: fact for field, fact in fields.items() if fact is not None}, _DELIVERY_EVENTS[name])
