"""The audit events: one struct per event, with the fields that its line carries. The list is closed, and every name is frozen.

To add an event, add a struct to this file: mypy then checks each caller, `gateway tail` knows the event, and `make docs` adds it
to the reference. Once released, neither an event nor a field is renamed or removed.

A line holds `v`, `time` and `event`, then the ids of the message if the event is about one, then the fields of the struct. A
field that does not apply is None here, and left out of the line. A struct declares its fields in the order of
`audit_fields.FIELDS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.audit_event_kinds import GatewayEvent, MessageEvent


class MessageAccepted(MessageEvent, frozen=True, kw_only=True):
    """A message and its deliveries are on disk. After a crash, the line may come without `routes`."""

    name = "message.accepted"
    routes: Sequence[str] | None = None
    sinks: Sequence[str]
    body_sha256: str | None = None
    key: str | None = None
    sender_timestamp: str | None = None


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
    key: str | None = None
    sender_timestamp: str | None = None
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


class DeliveryJoined(MessageEvent, frozen=True, kw_only=True):
    """The delivery `told_by` tells the event, too, as the other half of a rejection: this one ended before its first attempt."""

    name = "delivery.joined"
    sink: str
    delivery_id: str
    told_by: str
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


class SinkProbed(GatewayEvent, frozen=True, kw_only=True):
    """A person asked for a probe of the sink at once, although its breaker was to wait for longer."""

    name = "sink.probed"
    sink: str
    actor: str
    claimed: str | None = None


class MessageSampled(GatewayEvent, frozen=True, kw_only=True):
    """A person sent a sample, an event that is plainly a test, through the gateway as a message of the source."""

    name = "message.sampled"
    message_id: str
    sender_id: str
    source: str
    event_type: str
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


class DatabaseBackedUp(GatewayEvent, frozen=True, kw_only=True):
    """A person copied the database, with all bodies in it, into the file that `detail` names."""

    name = "database.backed_up"
    detail: str
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


class SrDiffers(GatewayEvent, frozen=True, kw_only=True):
    """Legitmark's API told another, newer state of a service request than the gateway knows, twice in a minute."""

    name = "sr.differs"
    failed = True
    sr_uuid: str
    reference_id: str | None = None
    detail: str
    actor: str
    claimed: str | None = None


class SrNotFound(GatewayEvent, frozen=True, kw_only=True):
    """Legitmark's API knows no such service request."""

    name = "sr.not_found"
    failed = True
    sr_uuid: str
    reference_id: str | None = None
    detail: str
    actor: str
    claimed: str | None = None


class ReconcileFinished(GatewayEvent, frozen=True, kw_only=True):
    """A reconciliation asked for all its service requests; `detail` says what came of them. `sr_uuid`: it had only this one."""

    name = "reconcile.finished"
    sr_uuid: str | None = None
    detail: str
    count: int
    actor: str
    claimed: str | None = None


class ReconcileStopped(GatewayEvent, frozen=True, kw_only=True):
    """A reconciliation ended before it had asked for all its service requests; `detail` says why, and what to do."""

    name = "reconcile.stopped"
    failed = True
    sr_uuid: str | None = None
    detail: str
    count: int
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


NEW_MESSAGE = frozenset((MessageAccepted.name, MessageQuarantined.name))
"""The events that tell of a message for the first time."""
