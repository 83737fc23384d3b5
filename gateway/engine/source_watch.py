"""Notices that a source refuses everything, or that this host's clock is wrong. Both need a person; neither changes an answer.

Strangers can send what they like, so what is counted is bounded, ends by itself or with the first good message, and touches
neither readiness nor any webhook.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from gateway.clock import Clock
from gateway.core.signature import Claim
from gateway.metrics import Metrics
from gateway.telemetry import Log

ENOUGH = 10
"""Refused requests in a row, without a good one between them."""
NONE_GOOD = 300.0
"""Seconds without a good one."""
DISTINCT = 3
"""Sender ids whose timestamps agree on how wrong the clock is; a copy of a captured request has the id that it had."""
AGREE = 10.0
"""Seconds within which they agree."""
REMEMBERED = 600.0
"""Seconds for which a timestamp counts: so a suspicion ends by itself."""
_MOST_REMEMBERED = 64
_LOOK_SECONDS = 1.0
WHAT_TO_DO = {
    "bad_signature": "no secret fits: set the signing secret that the sender shows for this URL, then reload",
    "stale_timestamp": "the signatures are right and the times are not: set this host's clock",
    "missing_signature": "the signature headers are missing: does a proxy remove them?",
    "forbidden": "the sender's address is not in allow_from: mend it, or trusted_proxies, then reload",
    "unsupported_encoding": "the bodies come compressed: a proxy must pass them on as they are",
    "body_too_large": "the bodies are larger than [server] max_body: raise it, then reload",
}
"""By the reason of the refusals; other reasons are not counted."""


class Refusing(Struct, frozen=True, kw_only=True):
    """A source that refuses whatever comes."""

    source: str
    reason: str
    count: int
    """Requests in a row."""
    since: float
    """When the first of them came, Unix seconds, UTC."""

    @property
    def do(self) -> str:
        return WHAT_TO_DO[self.reason]


class SourceWatch:
    """`tell` is told once of each source that begins to refuse everything."""

    def __init__(self, *, tell: Callable[[Refusing], Awaitable[None]], metrics: Metrics, clock: Clock, log: Log) -> None:
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._good_at: dict[str, float] = {}
        self._rows: dict[str, dict[str, Refusing]] = {}
        """By source and reason, since the last good message."""
        self._told: set[str] = set()
        self._offsets: dict[str, tuple[float, float]] = {}
        """By sender id: how far its timestamp lay from our clock, and when that was seen."""
        self._suspects_clock = False

    def good(self, source: str) -> None:
        """A message of a source was authentic."""
        self._good_at[source] = self._clock.monotonic()
        if self._offsets:
            self._offsets.clear()
        if self._rows.pop(source, None) is not None and source in self._told:
            self._told.discard(source)
            self._log.info("source.accepting", source=source)

    def refused(self, source: str, reason: str) -> None:
        """A request that may have come from the sender was refused."""
        if reason not in WHAT_TO_DO:
            return
        row = self._rows.setdefault(source, {})
        before = row.get(reason)
        since, count = (before.since, before.count + 1) if before is not None else (self._clock.now(), 1)
        row[reason] = Refusing(source=source, reason=reason, count=count, since=since)

    def stale(self, claim: Claim) -> None:
        """A request whose signature is right has a timestamp that is far from our clock."""
        now = self._clock.monotonic()
        self._offsets.setdefault(claim.sender_id, (claim.timestamp - self._clock.now(), now))
        if len(self._offsets) > _MOST_REMEMBERED:
            self._offsets.pop(next(iter(self._offsets)))

    def refusing(self) -> tuple[Refusing, ...]:
        """The sources that refuse everything now, each with its most frequent reason."""
        now = self._clock.monotonic()
        found = []
        for source, row in self._rows.items():
            good_at = self._good_at.get(source)
            most = max(row.values(), key=lambda one: one.count)
            if most.count >= ENOUGH and (good_at is None or now - good_at >= NONE_GOOD):
                found.append(most)
        return tuple(found)

    @property
    def suspects_clock(self) -> bool:
        """Several senders' ids agree that this host's clock is wrong, and no good message says otherwise."""
        now = self._clock.monotonic()
        offsets = sorted(offset for offset, at in self._offsets.values() if now - at < REMEMBERED)
        return any(last - first <= AGREE for first, last in zip(offsets, offsets[DISTINCT - 1 :], strict=False))

    def keep(self, sources: Iterable[str]) -> None:
        """Forget the sources that left the configuration. What is known of the others stays, secrets or not."""
        known = set(sources)
        for source in [source for source in self._rows if source not in known]:
            del self._rows[source]
            self._told.discard(source)

    async def run(self) -> None:
        """Tell of what begins and ends, until cancelled."""
        while True:
            await self.step()
            await self._clock.wait(asyncio.Event(), _LOOK_SECONDS)

    async def step(self) -> None:
        before, self._suspects_clock = self._suspects_clock, self.suspects_clock
        self._metrics.clock_suspect(self._suspects_clock)
        if self._suspects_clock and not before:
            self._log.error("clock.suspect", do="compare this host's clock: webhooks with right signatures have other times")
        if before and not self._suspects_clock:
            self._log.info("clock.trusted")
        for one in self.refusing():
            if one.source not in self._told:
                self._told.add(one.source)
                facts = {"source": one.source, "reason": one.reason, "count": one.count}
                self._log.error("source.refusing", **facts, do=one.do)
                await self._tell(one)
