"""From headers and body to a receipt: verify, decode, route, commit, audit. Raises what the sender is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gateway.clock import Clock
from gateway.core import events, signature
from gateway.core.errors import RejectedWebhook, StoreError
from gateway.core.signature import Key, Misfit, VerifiedMessage
from gateway.engine.audit import AuditLog
from gateway.engine.inbox import Inbox
from gateway.engine.notices import Notices
from gateway.engine.rejections import Rejections
from gateway.engine.space import Space
from gateway.metrics import Metrics
from gateway.store.records import Duplicate, Message
from gateway.store.refused import Refused
from gateway.telemetry import Log

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
    """The path of a request. Shares nothing with the lanes but the inbox."""

    def __init__(
        self,
        *,
        audit: AuditLog,
        inbox: Inbox,
        rejections: Rejections,
        notices: Notices,
        space: Space,
        keep: Callable[[Refused], None],
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """`keep` is told of every well-formed request that fits no secret."""
        self._keep = keep
        self._audit = audit
        self._inbox = inbox
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
            if isinstance(rejected, Misfit):
                self._keep_misfit(source, rejected, body, content_type, now)
            raise
        if source.keys:
            self._trust_clock()
        receipt, event_type = await self._admit(source, verified, decoded, content_type, now)
        self._metrics.message(source.name, event_type, receipt.status, self._clock.monotonic() - started)
        return receipt

    async def admit(self, source: Source, verified: VerifiedMessage, content_type: str | None) -> Receipt:
        """Take in a message that was verified already, as if it had come now. Raises StoreError."""
        decoded = events.decode(verified.body)
        receipt, _ = await self._admit(source, verified, decoded, content_type, self._clock.now())
        return receipt

    async def _admit(
        self,
        source: Source,
        verified: VerifiedMessage,
        decoded: events.Event | events.Undecodable,
        content_type: str | None,
        now: float,
    ) -> tuple[Receipt, str | None]:
        """Commit and audit; the receipt, and the type of the event."""
        if self._audit.failing:
            raise StoreError("the audit log can't be written")
        if self._space.low:
            raise StoreError("the disk is nearly full")

        event = decoded if isinstance(decoded, events.Event) else None
        detail = decoded.detail if isinstance(decoded, events.Undecodable) else None
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
        stored = await self._inbox.put(
            message,
            self._inbox.route(event, source.name, message.id) if event else None,
            event_at=event.instant() if event else None,
            identity=events.identity(event, source.identity) if event else None,
            detail=detail,
        )
        if isinstance(stored, Duplicate):
            receipt = Receipt("duplicate", stored.id)
        elif event is not None:
            receipt = Receipt("accepted", message.id)
        else:
            receipt = Receipt("quarantined", message.id)
            await self._notices.message_quarantined(message, detail or "")
        return receipt, message.event_type

    def _keep_misfit(self, source: Source, misfit: Misfit, body: bytes, content_type: str | None, now: float) -> None:
        """Have a request kept that some other secret may fit. One whose time is wrong no secret would make right."""
        claim = misfit.claim
        if misfit.code == "bad_signature" and claim.may_fit and abs(now - claim.timestamp) <= source.tolerance:
            self._keep(Refused(source.name, now, claim, content_type, body))

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
