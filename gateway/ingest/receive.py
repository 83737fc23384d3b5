"""Receives one webhook: verify, decode, route, commit, audit. It returns the receipt, or raises the refusal.

`read` and `submit` need no wait, so that a caller without a task can use them; `receive` is for a caller with one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gateway.core import events, signature
from gateway.core.errors import RejectedWebhook, StoreError
from gateway.core.kept_requests import RefusedRequest
from gateway.core.records import Accepted, Duplicate, Message, Stored
from gateway.core.signature import Key, Misfit, VerifiedMessage
from gateway.host.clock import Clock
from gateway.ingest.accept import KEPT_DECODED, Inbox
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics

Headers = Iterable[tuple[bytes, bytes]]


class Source(Struct, frozen=True):
    """A place that webhooks come from, with the keys that verify them."""

    name: str
    keys: Sequence[Key]
    """Empty if the configuration says `verify = "none"`."""
    tolerance: float
    """How many seconds the timestamp of a webhook may differ from the clock of this host."""
    identity: Mapping[str, Sequence[str]]
    """The fields that make two events the same, by event type."""


class Receipt(Struct, frozen=True):
    """The content of an answer with status 200."""

    status: Literal["accepted", "duplicate", "quarantined"]
    id: str
    """The gateway's id of the message, or of the first message if this one is a duplicate."""


class Readable(Struct, frozen=True):
    """A webhook that was verified and decoded."""

    verified: VerifiedMessage
    decoded: events.Event | events.Undecodable
    received_at: float
    """Unix seconds, UTC."""
    content_type: str | None

    @property
    def is_event(self) -> bool:
        """False if the message will be quarantined."""
        return isinstance(self.decoded, events.Event)


class Intake:
    """Takes in webhooks. It shares only the inbox with the lanes, so that no sink can delay an answer."""

    def __init__(
        self,
        *,
        audit: AuditLog,
        inbox: Inbox,
        own_events: OwnEvents,
        watch: SourceWatch,
        drift: Callable[[events.Event, Message], None],
        space: DiskSpace,
        keep: Callable[[RefusedRequest], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """
        Args:
            drift: called for every new message with an event, once it is committed.
            keep: gets every well-formed request whose signature fits no secret.
        """
        self._keep = keep
        self._audit = audit
        self._inbox = inbox
        self._own_events = own_events
        self._watch = watch
        self._drift = drift
        self._space = space
        self._metrics = metrics
        self._clock = clock

    async def receive(self, source: Source, readable: Readable, started: float | None) -> Receipt:
        """Take in one webhook. When this returns, the message is committed with all its deliveries, and audited.

        Args:
            started: see `submit`.
        Raises:
            StoreError: the message cannot be committed now, so the sender has to keep it.
        """
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def told(result: Receipt | Exception) -> None:
            if receipt.done():
                return
            if isinstance(result, Exception):
                receipt.set_exception(result)
            else:
                receipt.set_result(result)

        message = self.submit(source, readable, told, started)
        if (await receipt).status == "quarantined" and isinstance(readable.decoded, events.Undecodable):
            await self._own_events.message_quarantined(message, readable.decoded.detail)
        return await receipt

    async def admit(self, source: Source, verified: VerifiedMessage, content_type: str | None) -> Receipt:
        """Take in a message that was verified later than it came, as if it had come now. Raises StoreError."""
        readable = Readable(verified, events.decode(verified.body), self._clock.now(), content_type)
        return await self.receive(source, readable, None)

    def read(self, source: Source, headers: Headers, body: bytes, content_type: str | None) -> Readable:
        """Verify and decode one webhook that comes now. To read it a second time changes nothing, unless it is refused.

        Raises:
            RejectedWebhook: the request is refused.
        """
        now = self._clock.now()
        try:
            verified, decoded = _read(source, headers, body, now)
        except Misfit as misfit:
            self._misfit(source, misfit, body, content_type, now)
            raise
        return Readable(verified, decoded, now, content_type)

    def submit(
        self, source: Source, readable: Readable, told: Callable[[Receipt | Exception], None], started: float | None
    ) -> Message:
        """Route a message, and put it into the next commit. Returns the message.

        Args:
            told: called once with the receipt when the message is committed with all its deliveries, and audited; or with
                StoreError. It must not raise.
            started: monotonic seconds at which the request arrived; None does not count it among the webhooks.
        Raises:
            StoreError: nothing can be stored now. `told` is not called then.
        """
        self._watch.good(source.name, readable.verified.timestamp)
        if self._audit.failing:
            raise StoreError("the audit log can't be written")
        if self._space.low:
            raise StoreError("the disk is nearly full")

        decoded = readable.decoded
        event = decoded if isinstance(decoded, events.Event) else None
        message = Message(
            id=self._clock.new_id(),
            source=source.name,
            sender_id=readable.verified.sender_id,
            received_at=readable.received_at,
            content_type=readable.content_type,
            body=readable.verified.body,
            event_type=event.event_type if event else None,
            milestone=event.milestone.value if event else None,
            sr_uuid=event.sr_uuid if event else None,
            reference_id=event.reference_id if event else None,
        )

        # As in the inbox: many messages may wait for a slow disk, and a decoded event takes many times the memory of its body.
        kept = decoded if len(message.body) <= KEPT_DECODED else None

        def written(stored: Stored | Exception) -> None:
            if isinstance(stored, Accepted):
                known = kept or events.decode(message.body)
                if isinstance(known, events.Event):
                    self._drift(known, message)
            told(stored if isinstance(stored, Exception) else self._receipt(message, stored, started))

        self._inbox.submit(
            message,
            event,
            written,
            signed=readable.verified.signed,
            identity=events.identity(event, source.identity) if event else None,
            detail=decoded.detail if isinstance(decoded, events.Undecodable) else None,
        )
        return message

    def _receipt(self, message: Message, stored: Stored, started: float | None) -> Receipt | Exception:
        """Count a message that is written, and return its receipt; or the error if there is a bug in that."""
        if isinstance(stored, Duplicate):
            receipt = Receipt("duplicate", stored.id)
        else:
            receipt = Receipt("quarantined" if message.milestone is None else "accepted", message.id)
        if started is not None:
            try:
                self._metrics.message(message.source, message.event_type, receipt.status, self._clock.monotonic() - started)
            except Exception as bug:
                return bug
        return receipt

    def _misfit(self, source: Source, misfit: Misfit, body: bytes, content_type: str | None, now: float) -> None:
        """Count a well-formed request that was refused, and keep it if another secret may fit. No secret mends a wrong time."""
        claim = misfit.claim
        if misfit.code == "stale_timestamp":
            self._watch.stale(source.name, claim)
        elif claim.may_fit:
            self._watch.refused(source.name, misfit.code)
            if abs(now - claim.timestamp) <= source.tolerance:
                self._keep(RefusedRequest(source.name, now, claim, content_type, body))


def _read(source: Source, headers: Headers, body: bytes, now: float) -> tuple[VerifiedMessage, events.Event | events.Undecodable]:
    """Verify and decode a webhook. Raises RejectedWebhook, and Misfit if it is well-formed but its signature or time is wrong."""
    if source.keys:
        verified = signature.verify(headers, body, source.keys, now, source.tolerance)
        return verified, events.decode(verified.body)
    verified = signature.unverified(headers, body)
    decoded = events.decode(verified.body)
    if isinstance(decoded, events.Undecodable):
        raise RejectedWebhook(400, "malformed_body", decoded.detail)
    return verified, decoded
