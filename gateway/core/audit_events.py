"""The audit events: one struct per event, with the fields that its line carries. The list is closed, and every name is frozen.

To add an event, add a struct to this file: mypy then checks each caller, `gateway tail` knows the event, and `make docs` adds it
to the reference. Once released, neither an event nor a field is renamed or removed.

A line holds `v`, `time` and `event`, then the ids of the message if the event is about one, then the fields of the struct. A
field that does not apply is None here, and left out of the line. A struct declares its fields in the order of FIELDS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from gateway.core.documents import Ids
from gateway.core.outcome import Defer, Outcome, Reason
from gateway.core.records import Attempt, Message, Owed, delivery_id
from gateway.core.retry import Transition
from gateway.core.values import rfc3339

VERSION = 1
"""The `v` of every line."""

FIELDS: Mapping[str, str] = {
    "v": "The version of the format: 1.",
    "time": "When it happened (RFC 3339, UTC, milliseconds).",
    "event": "The name of the event.",
    "message_id": "The gateway's id of the message. A duplicate carries the id of the first message.",
    "sender_id": "The sender's id of the message (`svix-id`).",
    "source": "The source that the message came from.",
    "event_type": "The `event_type` of the webhook.",
    "milestone": "The meaning of the webhook, from the list of milestones.",
    "sr_uuid": "The service request that the webhook is about.",
    "reference_id": "The `reference_id` of the webhook.",
    "routes": "The routes that matched.",
    "sinks": "The sinks that the message goes to.",
    "body_sha256": "The SHA-256 of the body as it came, in lower-case hex.",
    "sink": "The sink.",
    "delivery_id": "The id of the delivery, which is also its idempotency key.",
    "attempt": "The number of the attempt, from 1, counted over the whole life of the delivery.",
    "status": "The status code of the sink's answer (HTTP or SMTP).",
    "duration_ms": "How long the attempt took, in milliseconds.",
    "reason": "The reason, from a closed list.",
    "detail": "The same in words, for people. Its text may change.",
    "conflict": "`true` if the duplicate has another body than the first message.",
    "count": "How many requests this line sums up.",
    "sender_ids": "Ids that the refused requests claim, at most 20.",
    "more_sender_ids": "How many requests had another id than those.",
    "addresses": "Addresses that the refused requests came from, at most 20.",
    "more_addresses": "How many requests came from another address than those.",
    "next_attempt_at": "When the next attempt is due (RFC 3339, UTC).",
    "actor": "The user who acted, as the admin listener knows them, such as `admin`; or `SIGHUP`, or `reload`.",
    "claimed": "The name that the request gave for who acts. Nothing checks it.",
    "number": "The place of the seal in the chain of seals, from 1.",
    "lines": "How many lines the seal covers: the last ones before it that are no seals.",
    "read_back": "How many of the first of these lines a start read back from the file, after an unclean end.",
    "root": "The Merkle root of these lines in hex (RFC 6962, section 2.1). A leaf is a line without its line break.",
    "before": "The `seal` of the seal before this one. The first seal has none.",
    "seal": 'The SHA-256 of this line up to `,"seal":`, in lower-case hex.',
}
"""Every field of a line, in the order of the file, with its meaning."""

MESSAGE_FIELDS = ("message_id", "sender_id", "source", "event_type", "milestone", "sr_uuid", "reference_id")
"""The fields that an event about a message begins with; those that the message does not have are left out."""


class AuditEvent(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The base of all events. The docstring of each one is its description in the reference."""

    name: ClassVar[str]
    """The `event` of its lines."""
    failed: ClassVar[bool] = False
    """The event tells that something went wrong: `gateway tail --failed` shows it."""


class MessageEvent(AuditEvent, frozen=True, kw_only=True):
    """The base of the events about one message: their lines begin with MESSAGE_FIELDS."""


class GatewayEvent(AuditEvent, frozen=True, kw_only=True):
    """The base of the events about a request, a sink, the configuration or the process."""


class MessageAccepted(MessageEvent, frozen=True, kw_only=True):
    """A message and its deliveries are on disk. After a crash, the line may come without `routes`."""

    name = "message.accepted"
    routes: Sequence[str] | None = None
    sinks: Sequence[str]
    body_sha256: str | None = None


class MessageDuplicate(MessageEvent, frozen=True, kw_only=True):
    """A message came again. No delivery is made."""

    name = "message.duplicate"
    reason: str
    conflict: bool | None = None


class MessageQuarantined(MessageEvent, frozen=True, kw_only=True):
    """An authentic message is not a JSON object. It is kept, and no route sees it."""

    name = "message.quarantined"
    failed = True
    body_sha256: str | None = None
    detail: str | None = None


class MessageRejected(GatewayEvent, frozen=True, kw_only=True):
    """Requests were refused: the first one of a source and reason at once, then one line per 10 seconds with `count`."""

    name = "message.rejected"
    failed = True
    source: str | None = None
    reason: str
    detail: str
    count: int | None = None
    sender_ids: Sequence[str] | None = None
    more_sender_ids: int | None = None
    addresses: Sequence[str] | None = None
    more_addresses: int | None = None


class MessageUnrouted(MessageEvent, frozen=True, kw_only=True):
    """No route matched the accepted message. The line follows `message.accepted`."""

    name = "message.unrouted"
    failed = True


class MessageReverified(GatewayEvent, frozen=True, kw_only=True):
    """A kept refused request fits a secret that came later, and was taken in."""

    name = "message.reverified"
    message_id: str
    sender_id: str | None = None
    source: str
    detail: str
    actor: str
    claimed: str | None = None


class DeliveryDelivered(MessageEvent, frozen=True, kw_only=True):
    """The sink took the message."""

    name = "delivery.delivered"
    sink: str
    delivery_id: str
    attempt: int
    status: int | None = None
    duration_ms: int | None = None
    detail: str | None = None


class DeliveryRetrying(MessageEvent, frozen=True, kw_only=True):
    """An attempt failed, and another one will be made."""

    name = "delivery.retrying"
    failed = True
    sink: str
    delivery_id: str
    attempt: int
    status: int | None = None
    duration_ms: int | None = None
    reason: str
    detail: str | None = None
    next_attempt_at: str


class DeliveryDeferred(MessageEvent, frozen=True, kw_only=True):
    """The sink named the time of the next attempt. The retry budget is untouched."""

    name = "delivery.deferred"
    sink: str
    delivery_id: str
    attempt: int
    status: int | None = None
    duration_ms: int | None = None
    reason: str
    detail: str | None = None
    next_attempt_at: str


class DeliveryDead(MessageEvent, frozen=True, kw_only=True):
    """The delivery ended undelivered. It is kept, and can be replayed. Without `attempt`, it expired while it waited."""

    name = "delivery.dead"
    failed = True
    sink: str
    delivery_id: str
    attempt: int | None = None
    status: int | None = None
    duration_ms: int | None = None
    reason: str
    detail: str | None = None


class DeliveryReplayed(MessageEvent, frozen=True, kw_only=True):
    """A person queued the delivery again, or added it."""

    name = "delivery.replayed"
    sink: str
    delivery_id: str
    actor: str
    claimed: str | None = None


class DeliveryDiscarded(MessageEvent, frozen=True, kw_only=True):
    """A person ended the delivery."""

    name = "delivery.discarded"
    sink: str
    delivery_id: str
    actor: str
    claimed: str | None = None


class DeliverySuppressed(MessageEvent, frozen=True, kw_only=True):
    """The event was late, and the sink suppresses late events: the delivery ended before its first attempt."""

    name = "delivery.suppressed"
    sink: str
    delivery_id: str
    reason: str


class SinkOpened(GatewayEvent, frozen=True, kw_only=True):
    """The circuit breaker of the sink opened: its deliveries wait."""

    name = "sink.opened"
    failed = True
    sink: str
    reason: str | None = None
    detail: str | None = None


class SinkClosed(GatewayEvent, frozen=True, kw_only=True):
    """The circuit breaker of the sink closed: a delivery succeeded."""

    name = "sink.closed"
    sink: str


class SinkPaused(GatewayEvent, frozen=True, kw_only=True):
    """A person paused the sink."""

    name = "sink.paused"
    sink: str
    actor: str
    claimed: str | None = None


class SinkResumed(GatewayEvent, frozen=True, kw_only=True):
    """A person ended the pause of the sink."""

    name = "sink.resumed"
    sink: str
    actor: str
    claimed: str | None = None


class SinkDrilled(GatewayEvent, frozen=True, kw_only=True):
    """A person sent a message marked [TEST] through the sink. Without `reason`, the sink took it."""

    name = "sink.drilled"
    sink: str
    delivery_id: str
    status: int | None = None
    duration_ms: int | None = None
    reason: str | None = None
    detail: str | None = None
    actor: str
    claimed: str | None = None


class ConfigReloaded(GatewayEvent, frozen=True, kw_only=True):
    """A reload took over; `detail` names the changes."""

    name = "config.reloaded"
    detail: str
    actor: str
    claimed: str | None = None


class ConfigRefused(GatewayEvent, frozen=True, kw_only=True):
    """A reload changed nothing; `detail` says why."""

    name = "config.refused"
    failed = True
    detail: str
    actor: str
    claimed: str | None = None


class GatewayStarted(GatewayEvent, frozen=True, kw_only=True):
    """The gateway takes webhooks; `detail` is its version."""

    name = "gateway.started"
    detail: str


class GatewayStopped(GatewayEvent, frozen=True, kw_only=True):
    """The gateway finished what was in flight, and stops."""

    name = "gateway.stopped"


class AuditSealed(GatewayEvent, frozen=True, kw_only=True):
    """The lines since the seal before are sealed: from now on no byte of them can change without changing this seal."""

    name = "audit.sealed"
    number: int
    lines: int
    read_back: int | None = None
    root: str
    before: str | None = None
    seal: str | None = None


AUDIT_EVENTS: Mapping[str, type[AuditEvent]] = {
    event.name: event
    for event in tuple(globals().values())
    if isinstance(event, type) and issubclass(event, AuditEvent) and "name" in vars(event)
}
"""Every event of this file by its name, in the order of the file."""

NEW_MESSAGE = frozenset((MessageAccepted.name, MessageQuarantined.name))
"""The events that tell of a message for the first time."""

DISCARDED = "it was discarded meanwhile"
"""The detail of `delivery.delivered` if a person had discarded the delivery before the sink took it."""

_DELIVERY_EVENTS: dict[str, type[MessageEvent]] = {
    event.name: event
    for event in (DeliveryDelivered, DeliveryRetrying, DeliveryDeferred, DeliveryDead, DeliveryReplayed, DeliveryDiscarded)
}


def suppressed_event(message: Message | Ids, sink: str) -> DeliverySuppressed:
    """Build the event of a delivery that is not made because its message is late."""
    return DeliverySuppressed(sink=sink, delivery_id=delivery_id(message.id, sink), reason=Reason.STALE)


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
