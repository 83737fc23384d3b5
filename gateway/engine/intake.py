"""From headers and body to a receipt: verify, decode, route, commit, audit. Raises what the sender is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.clock import Clock
from gateway.core import events, signature
from gateway.core.errors import RejectedWebhook, StoreError
from gateway.core.retry import RetryPolicy, first_due
from gateway.core.routing import Decision, Router
from gateway.core.signature import Key
from gateway.engine.audit import AuditLog
from gateway.engine.notices import Notices
from gateway.engine.rejections import Rejections
from gateway.engine.space import Space
from gateway.store.records import Accepted, Duplicate, Message, NewMessage, Owed, Status
from gateway.store.sqlite import Store
from gateway.telemetry import Log, Metrics

SUSPECT_AFTER = 3
"""Stale messages with right signatures in a row."""

Headers = Iterable[tuple[bytes, bytes]]


class Source(Struct, frozen=True):
    """A place that webhooks come from, ready to verify."""

    name: str
    keys: Sequence[Key]
    """Empty: unverified, which the operator wrote out."""
    tolerance: float
    """Seconds."""
    identity: Mapping[str, Sequence[str]]


class Receipt(Struct, frozen=True):
    """What the sender is answered with 200."""

    status: Literal["accepted", "duplicate", "quarantined"]
    id: str
    """The gateway's id; of a duplicate, the first message's."""


class Intake:
    """The path of a request. Shares nothing with the lanes but the store and `offer`."""

    def __init__(
        self,
        *,
        store: Store,
        audit: AuditLog,
        router: Router,
        policies: Mapping[str, RetryPolicy],
        offer: Callable[[Owed, float], None],
        rejections: Rejections,
        notices: Notices,
        space: Space,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """`policies` holds the retry policy of every sink; `offer` hands a fresh delivery and its due time to its lane."""
        self._store = store
        self._audit = audit
        self._router = router
        self._policies = policies
        self._offer = offer
        self._rejections = rejections
        self._notices = notices
        self._space = space
        self._stale_in_a_row = 0
        self._metrics = metrics
        self._clock = clock
        self._log = log

    async def receive(self, source: Source, headers: Headers, body: bytes, content_type: str | None, started: float) -> Receipt:
        """Answer for one message: when this returns, it is committed with all its deliveries, and audited.

        Args:
            started: monotonic seconds at which the request arrived, for the metric.
        Raises:
            RejectedWebhook: it is refused, and nothing of it kept.
            StoreError: nothing can be promised now; the sender has to keep it.
        """
        now = self._clock.now()
        try:
            if source.keys:
                verified = signature.verify(headers, body, source.keys, now, source.tolerance)
            else:
                verified = signature.unverified(headers, body)
            decoded = events.decode(verified.body)
            if isinstance(decoded, events.Undecodable) and not source.keys:
                raise RejectedWebhook(400, "malformed_body", decoded.detail)
        except RejectedWebhook as rejected:
            self._rejections.add(source.name, rejected.code, rejected.detail)
            if rejected.code == "stale_timestamp":
                self._suspect_clock()
            raise
        if source.keys:
            self._trust_clock()
        if self._audit.failing:
            raise StoreError("the audit log can't be written")
        if self._space.low:
            raise StoreError("the disk is nearly full")

        event = decoded if isinstance(decoded, events.Event) else None
        decision = self._route(event, source) if event else None
        message = Message(
            id=self._clock.new_id(),
            source=source.name,
            sender_id=verified.sender_id,
            received_at=now,
            content_type=content_type,
            body=verified.body,
            event_type=event.event_type if event else None,
            milestone=event.milestone.value if event else None,
            sr_uuid=event.sr_uuid if event else None,
            reference_id=event.reference_id if event else None,
        )
        deliveries = tuple(
            (sink, first_due(self._policies[sink], now, self._clock.jitter())) for sink in (decision.sinks if decision else ())
        )
        stored = await self._store.accept(
            NewMessage(
                message=message,
                status=_status(decision),
                event_at=event.instant() if event else None,
                identity=events.identity(event, source.identity) if event else None,
                deliveries=deliveries,
            )
        )
        if isinstance(stored, Duplicate):
            receipt = self._duplicate(message, stored)
        else:
            receipt = self._accepted(message, stored, decision, decoded, deliveries)
        await self._audit.flush()
        if receipt.status == "quarantined" and isinstance(decoded, events.Undecodable):
            await self._notices.message_quarantined(message, decoded.detail)
        self._metrics.message(source.name, message.event_type, receipt.status, self._clock.monotonic() - started)
        return receipt

    @property
    def clock_suspect(self) -> bool:
        """Several messages with right signatures came too late or too early: it is the clock of this host."""
        return self._stale_in_a_row >= SUSPECT_AFTER

    def _suspect_clock(self) -> None:
        self._stale_in_a_row += 1
        if self._stale_in_a_row == SUSPECT_AFTER:
            self._metrics.clock_suspect(True)
            self._log.error("clock.suspect", stale=SUSPECT_AFTER, do="set this host's clock: every webhook is being refused")

    def _trust_clock(self) -> None:
        if self.clock_suspect:
            self._metrics.clock_suspect(False)
            self._log.info("clock.trusted")
        self._stale_in_a_row = 0

    def _route(self, event: events.Event, source: Source) -> Decision:
        try:
            return self._router.route(event, source.name)
        except Exception:
            # A bug in the rules' evaluation must not lose a message that is authentic: it is kept as unrouted, and replayable.
            self._log.exception("routing.bug", source=source.name)
            return Decision(sinks=(), routes=())

    def _duplicate(self, message: Message, duplicate: Duplicate) -> Receipt:
        # The line carries the id of the first message, so that its story is found under one id.
        self._audit.step(
            "message.duplicate",
            msgspec.structs.replace(message, id=duplicate.id),
            reason=duplicate.reason,
            conflict=True if duplicate.conflict else None,
        )
        if duplicate.conflict:
            self._metrics.conflict(message.source)
        return Receipt("duplicate", duplicate.id)

    def _accepted(
        self,
        message: Message,
        accepted: Accepted,
        decision: Decision | None,
        decoded: events.Event | events.Undecodable,
        deliveries: Sequence[tuple[str, float]],
    ) -> Receipt:
        if isinstance(decoded, events.Undecodable) or decision is None:
            detail = decoded.detail if isinstance(decoded, events.Undecodable) else None
            self._audit.step("message.quarantined", message, detail=detail)
            return Receipt("quarantined", message.id)
        self._audit.step("message.accepted", message, routes=decision.routes, sinks=decision.sinks)
        if not decision.routes:
            self._audit.step("message.unrouted", message)
            self._metrics.unrouted(message.source)
        for sink, due in deliveries:
            self._offer(Owed(seq=accepted.seq, sink=sink, message=message, since=message.received_at), due)
        return Receipt("accepted", message.id)


def _status(decision: Decision | None) -> Status:
    if decision is None:
        return "quarantined"
    return "accepted" if decision.routes else "unrouted"
