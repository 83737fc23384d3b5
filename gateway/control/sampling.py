"""Samples: an event that is plainly a test, taken in as if its sender had sent it: signed, verified, stored, and routed.

Unlike a drill, it leaves a message with its deliveries, and moves the gates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct

from gateway.control.drills import test_body
from gateway.control.ids import Unknown
from gateway.core import events, signature
from gateway.core.audit_events import MessageSampled
from gateway.core.errors import StoreError
from gateway.core.samples import SAMPLES
from gateway.core.values import claim_of
from gateway.host.clock import Clock
from gateway.ingest.receive import Intake, Readable, Receipt, Source
from gateway.observability.audit import AuditLog
from gateway.store.people import KeepingActs

_CONTENT_TYPE = "application/json"


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to send a sample."""

    event: str = "authentic"
    """The name of a sample."""
    source: str | None = None
    """The source that it comes from; None means the first one."""
    actor: str = ""
    """Who acts: what a request claims, until the door says who it is from."""


class Sampling:
    """Sends samples through the intake."""

    def __init__(
        self, *, intake: Intake, sources: Mapping[str, Source], store: KeepingActs, audit: AuditLog, clock: Clock
    ) -> None:
        """
        Args:
            sources: the sources of the configuration, by name.
        """
        self._intake = intake
        self._sources = sources
        self._store = store
        self._audit = audit
        self._clock = clock

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""
        return list(self._sources)

    def use(self, sources: Mapping[str, Source]) -> None:
        """Know other sources from the next sample on."""
        self._sources = sources

    async def send(self, sample: Sample) -> Receipt:
        """Send a sample, and return what its sender would be answered.

        Raises Unknown if there is no such source, ValueError if there is no such sample, or StoreError if nothing can be stored.
        """
        source = self._source(sample.source)
        if sample.event not in SAMPLES:
            raise ValueError(f'there is no sample "{sample.event}"; known: {", ".join(SAMPLES)}')
        body, now = test_body(sample.event, self._clock), self._clock.now()
        verified = _verified(source, f"sample_{self._clock.new_id()}", body, now)
        decoded = events.decode(body)
        receipt = await self._intake.receive(source, Readable(verified, decoded, now, _CONTENT_TYPE), None)
        event_type = str(json.loads(body)["event_type"])
        self._audit.step(
            MessageSampled(
                message_id=receipt.id,
                sender_id=verified.sender_id or "",
                source=source.name,
                event_type=event_type,
                actor=str(sample.actor),
                claimed=claim_of(sample.actor),
            )
        )
        with suppress(StoreError):  # the audit log tells of it as well
            await self._store.keep_act("sample", source.name, now=now, actor=sample.actor, detail=receipt.id)
        return receipt

    def _source(self, name: str | None) -> Source:
        if name is None:
            return next(iter(self._sources.values()))
        if name not in self._sources:
            raise Unknown(f'there is no source "{name}"', list(self._sources))
        return self._sources[name]


def _verified(source: Source, sender_id: str, body: bytes, now: float) -> signature.VerifiedMessage:
    """Sign the sample with the first secret of the source, and verify it, as a webhook of the sender would be."""
    if not source.keys:
        return signature.unverified([(b"webhook-id", sender_id.encode())], body)
    headers = signature.sign(source.keys[:1], sender_id, now, body)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return signature.verify(raw, body, source.keys, now, source.tolerance)
