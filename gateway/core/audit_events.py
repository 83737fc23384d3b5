"""The audit events: one struct per event, with the fields that its line carries. The list is closed, and every name is frozen.

To add an event, add a struct to this file: mypy then checks each caller, `gateway tail` knows the event, and `make docs` adds it
to the reference. Once released, neither an event nor a field is renamed or removed.

A line holds `v`, `time` and `event`, then the ids of the message if the event is about one, then the fields of the struct. A
field that does not apply is None here, and left out of the line. A struct declares its fields in the order of FIELDS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

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
    "watch": "The `[[watch]]` rule.",
    "kind": "The kind of a new value: `type`, `state`, `field` or `reason`.",
    "value": "The new value.",
    "path": "Where it stands in the body.",
    "delivery_id": "The id of the delivery, which is also its idempotency key.",
    "attempt": "The number of the attempt, from 1, counted over the whole life of the delivery.",
    "status": "The status code of the sink's answer (HTTP or SMTP).",
    "duration_ms": "How long the attempt took, in milliseconds.",
    "reason": "The reason, from a closed list.",
    "detail": "The same in words, for people. Its text may change.",
    "conflict": "`true` if the duplicate has another body than the first message.",
    "count": "How many requests this line sums up; in `sr.stalled`, service requests.",
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


class MessageRedecoded(MessageEvent, frozen=True, kw_only=True):
    """A person had a message decoded once more, and this version understands it better; the line has its new fields."""

    name = "message.redecoded"
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


class SinkFailing(GatewayEvent, frozen=True, kw_only=True):
    """The sink has been failing for `failing_after`, although its circuit breaker may open and close."""

    name = "sink.failing"
    failed = True
    sink: str
    reason: str | None = None
    detail: str


class SourceSilent(GatewayEvent, frozen=True, kw_only=True):
    """Nothing has come from the source for `silent_after`."""

    name = "source.silent"
    failed = True
    source: str
    detail: str


class SrStalled(GatewayEvent, frozen=True, kw_only=True):
    """A service request is in a state for longer than a `[[watch]]` rule allows; with `count` above 1, so many are."""

    name = "sr.stalled"
    failed = True
    source: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None
    watch: str | None = None
    detail: str
    count: int


class DriftFound(GatewayEvent, frozen=True, kw_only=True):
    """The source sent a type, state, field or reason that it neither documents nor sent before."""

    name = "drift.found"
    source: str
    kind: str
    value: str
    path: str
    detail: str


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
