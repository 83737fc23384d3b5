"""Verifies kept refused requests against the present secrets, and accepts those that fit, as if they had come now.

`gateway reverify` asks for it, and so does a reload that brings a new secret. It goes in slices beside serving: each slice is
committed and audited before its requests leave the file, so that a crash makes duplicates at worst, which make no delivery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct, structs

from gateway.core import signature
from gateway.core.audit_events import MessageReverified
from gateway.core.errors import RejectedWebhook, StoreError, StoreOverloaded
from gateway.core.kept_requests import KeptRequests, RefusedRequest
from gateway.core.values import claim_of, rfc3339
from gateway.host.clock import Clock
from gateway.ingest.receive import Intake, Receipt, Source
from gateway.ingest.refused_requests import RefusedRequests
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics

_SLICE = 16
"""Requests accepted at a time: so few that one commit stays short, even with fifty sinks."""
_SLICE_BYTES = 1024 * 1024
"""Bytes of the requests of one slice."""
_BUSY_SECONDS = 0.1
"""Seconds between two tries while the store is overloaded: webhooks that come now go first."""


class Reverified(Struct, frozen=True, kw_only=True):
    """The result of reverifying the kept requests of one source."""

    source: str
    kept: int = 0
    """Requests that were kept before."""
    fit: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    remaining: int = 0
    """Requests that stay refused and kept."""
    oldest: datetime | None = None
    newest: datetime | None = None
    """When the oldest and the newest of the requests in `kept` arrived."""


class UnknownSource(LookupError):
    """A source that is not in the configuration; `known` are the sources that are."""

    def __init__(self, source: str, known: Sequence[str]) -> None:
        super().__init__(f'there is no source "{source}"')
        self.known = known


class Reverify:
    """Reverifies in one run at a time, however many callers ask."""

    def __init__(
        self,
        *,
        refused: RefusedRequests,
        intake: Intake,
        sources: Mapping[str, Source],
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            sources: the sources of the configuration, by name.
        """
        self._refused = refused
        self._intake = intake
        self._sources = sources
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._one_at_a_time = asyncio.Lock()
        self._asked: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._last: dict[str, Reverified] = {}
        """The results of the current or the last run for a reload, by source."""

    def use(self, sources: Mapping[str, Source], with_new_secrets: Iterable[str]) -> None:
        """Use the sources of another configuration, and soon reverify those with a new secret."""
        self._sources = sources
        self._asked |= dict.fromkeys(with_new_secrets)
        self._wake.set()

    async def run(self) -> None:
        """Reverify what reloads ask for, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._one_at_a_time:
                self._last = {}
                while self._asked:
                    name = next(iter(self._asked))
                    del self._asked[name]
                    if name in self._sources:
                        await self._quietly(name)

    async def reverify(self, source: str | None, actor: str) -> list[Reverified]:
        """Reverify the kept requests of one source, or of all (None). Waits for the run of a reload, and includes its results.

        Raises UnknownSource, or StoreError if nothing can be accepted now; accepted requests stay accepted then.
        """
        sources = self._sources
        if source is not None and source not in sources:
            raise UnknownSource(source, list(sources))
        waited = self._one_at_a_time.locked()
        async with self._one_at_a_time:
            found = [await self._one(name, actor) for name in ([source] if source is not None else sources)]
            return [_together(self._last.get(one.source), one) if waited else one for one in found]

    def stop(self) -> None:
        """Begin no further slice."""
        self._stopping = True

    async def _quietly(self, name: str) -> None:
        try:
            done = self._last[name] = await self._one(name, "reload")
        except StoreError as error:
            self._log.warning("refused.not_reverified", source=name, error=str(error), do=f"gateway reverify {name}")
            return
        except Exception:
            self._log.exception("reverify.bug", source=name)
            return
        if done.kept:
            counts = {key: getattr(done, key) for key in ("kept", "accepted", "duplicate", "quarantined", "remaining")}
            self._log.info("refused.reverified", source=name, **counts)

    async def _one(self, name: str, actor: str) -> Reverified:
        await self._refused.forget_old()
        before = await self._refused.kept_of(name)
        fit: list[str] = []
        after = 0
        while not self._stopping:
            source = self._sources.get(name)
            page = await self._refused.page(name, after, before.last, _SLICE, _SLICE_BYTES)
            if source is None or not page:
                break
            fit += await self._slice(source, page, actor)
            after = page[-1].seq
        return Reverified(
            source=name,
            kept=before.count,
            fit=len(fit),
            accepted=fit.count("accepted"),
            duplicate=fit.count("duplicate"),
            quarantined=fit.count("quarantined"),
            remaining=self._refused.kept.get(name, KeptRequests()).count,
            oldest=_instant(before.oldest),
            newest=_instant(before.newest),
        )

    async def _slice(self, source: Source, page: Sequence[RefusedRequest], actor: str) -> list[str]:
        """Accept the requests that fit, then remove them from the file. Returns the status of each."""
        fitting = [(request, message) for request in page if (message := _verified(source, request)) is not None]
        results = await asyncio.gather(
            *(self._admit(source, message, request) for request, message in fitting), return_exceptions=True
        )
        done: list[tuple[RefusedRequest, Receipt]] = []
        failed: BaseException | None = None
        for (request, message), result in zip(fitting, results, strict=True):
            if isinstance(result, BaseException):
                failed = result
                continue
            self._audit.step(
                MessageReverified(
                    message_id=result.id,
                    sender_id=message.sender_id,
                    source=source.name,
                    detail=f"{result.status}; refused at {rfc3339(request.arrived_at)}",
                    actor=str(actor),
                    claimed=claim_of(actor),
                )
            )
            self._metrics.reverified(source.name, result.status)
            done.append((request, result))
        if done:
            await self._audit.flush()
            await self._refused.remove([request.seq for request, _ in done])
        if failed is not None:
            raise failed
        return [receipt.status for _, receipt in done]

    async def _admit(self, source: Source, message: signature.VerifiedMessage, request: RefusedRequest) -> Receipt:
        while True:
            try:
                return await self._intake.admit(source, message, request.content_type)
            except StoreOverloaded:
                if self._stopping:
                    raise
                await self._clock.wait(asyncio.Event(), _BUSY_SECONDS)


def _verified(source: Source, request: RefusedRequest) -> signature.VerifiedMessage | None:
    """Return the message if a present secret fits. Its timestamp is compared with the time of its arrival."""
    if not source.keys:
        return None
    try:
        return signature.fit(request.claim, request.body, source.keys, request.arrived_at, source.tolerance)
    except RejectedWebhook:
        return None


def _together(first: Reverified | None, then: Reverified) -> Reverified:
    """Add two runs, one right after the other, into one result."""
    if first is None:
        return then
    sums = {key: getattr(first, key) + getattr(then, key) for key in ("fit", "accepted", "duplicate", "quarantined")}
    kept = max(first.kept, then.kept)
    return structs.replace(then, kept=kept, oldest=first.oldest or then.oldest, newest=then.newest or first.newest, **sums)


def _instant(at: float | None) -> datetime | None:
    return datetime.fromtimestamp(int(at), UTC) if at is not None else None
