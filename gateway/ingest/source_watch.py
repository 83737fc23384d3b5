"""Notices that a source refuses everything, or that the clock of this host is wrong. Both need a person. No answer changes.

A stranger can send any request. Therefore the counts are bounded, they end with the first good message or after a while, and they
change neither readiness nor the answer to a webhook. An attacker may send a captured request again: its timestamp is the one that
the sender signed. So a wrong time counts only if the sender signed it after its last good message, and each request counts once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from gateway.core.signature import Claim
from gateway.core.values import rfc3339
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics

ENOUGH = 10
"""Refused requests in a row after which a source counts as refusing everything."""
NONE_GOOD = 300.0
"""Seconds without a good message after which a source counts as refusing everything."""
DISTINCT = 3
"""How many requests have to agree on how wrong the clock is."""
AGREE = 10.0
"""Seconds by which their differences from the clock may differ."""
REMEMBERED = 600.0
"""Seconds for which a timestamp counts, so that a suspicion ends."""
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
"""The thing to do, by the reason of the refusals. Refusals for another reason are not counted."""


class Refusing(Struct, frozen=True, kw_only=True):
    """A source that refuses everything."""

    source: str
    reason: str
    count: int
    """Requests in a row."""
    since: float
    """The instant of the first of them (Unix seconds, UTC)."""

    @property
    def do(self) -> str:
        """The thing that a person has to do."""
        return WHAT_TO_DO[self.reason]


class _Stale(Struct, frozen=True):
    """A request with a right signature and a wrong time."""

    timestamp: int
    """The instant at which the sender signed it (Unix seconds by the sender's clock)."""
    offset: float
    """Seconds by which the timestamp is ahead of the clock of this host."""
    at: float
    """Its arrival, in monotonic seconds."""


class SourceWatch:
    """The refusals of each source since its last good message."""

    def __init__(self, *, tell: Callable[[Refusing], Awaitable[bool]], metrics: Metrics, clock: Clock, log: Log) -> None:
        """
        Args:
            tell: called for a source that refuses everything, once a second until it returns True.
        """
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._good_at: dict[str, float] = {}
        self._arrived_at: dict[str, float] = {}
        """The arrival of the last good message, by source (Unix seconds, UTC)."""
        self._rows: dict[str, dict[str, Refusing]] = {}
        """The refusals by source and reason."""
        self._logged: set[str] = set()
        self._told: set[str] = set()
        self._signed: dict[str, int] = {}
        """The latest timestamp of a good message, by source (Unix seconds by the sender's clock)."""
        self._stale: dict[str, dict[str, _Stale]] = {}
        """The requests with a wrong time, by source and sender id."""
        self._newest_stale: dict[str, int] = {}
        """The latest timestamp of those requests, by source. It stays when their rows are dropped."""
        self._trusted_at = -math.inf
        """The last good message of any source (monotonic seconds). Requests before it prove nothing about the clock."""
        self._suspects_clock = False

    def good(self, source: str, timestamp: int | None = None) -> None:
        """Note a good message of a source.

        Args:
            timestamp: the instant at which the sender signed it; None if messages are not signed.
        """
        self._good_at[source] = self._trusted_at = self._clock.monotonic()
        self._arrived_at[source] = self._clock.now()
        if timestamp is not None:
            self._signed[source] = max(timestamp, self._signed.get(source, 0))
        if self._stale.pop(source, None) is not None:
            del self._newest_stale[source]
        if self._rows.pop(source, None) is not None and source in self._logged:
            self._logged.discard(source)
            self._told.discard(source)
            self._log.info("source.accepting", source=source)

    def heard_at(self, source: str) -> float | None:
        """Return when the last good message of a source came (monotonic seconds); None if none came since the start."""
        return self._good_at.get(source)

    def arrived_at(self, source: str) -> float | None:
        """Return the same instant by the wall clock (Unix seconds, UTC)."""
        return self._arrived_at.get(source)

    def refused(self, source: str, reason: str) -> None:
        """Note a refused request that may have come from the sender."""
        if reason not in WHAT_TO_DO:
            return
        row = self._rows.setdefault(source, {})
        before = row.get(reason)
        since, count = (before.since, before.count + 1) if before is not None else (self._clock.now(), 1)
        row[reason] = Refusing(source=source, reason=reason, count=count, since=since)

    def stale(self, source: str, claim: Claim) -> None:
        """Note a request whose signature is right and whose time is wrong. A copy of an earlier request is ignored."""
        rows, newest = self._stale.setdefault(source, {}), self._newest_stale.setdefault(source, 0)
        known = rows.get(claim.sender_id)
        after = newest - AGREE if known is None else known.timestamp  # requests of one moment may arrive in any order
        if claim.timestamp <= max(after, self._signed.get(source, 0)):
            return
        self._newest_stale[source] = newest = max(newest, claim.timestamp)
        if known is None and len(rows) >= _MOST_REMEMBERED:
            oldest = min(rows, key=lambda sender_id: rows[sender_id].timestamp)
            if rows[oldest].timestamp > newest - AGREE:
                return  # a copy of a forgotten request would count
            del rows[oldest]
        rows[claim.sender_id] = _Stale(claim.timestamp, claim.timestamp - self._clock.now(), self._clock.monotonic())
        self.refused(source, "stale_timestamp")

    def refusing(self) -> tuple[Refusing, ...]:
        """Return the sources that refuse everything now, each with its most frequent reason."""
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
        """Several requests agree that the clock of this host is wrong, and no good message came after them."""
        since = max(self._clock.monotonic() - REMEMBERED, self._trusted_at)
        offsets = sorted(one.offset for rows in self._stale.values() for one in rows.values() if one.at > since)
        return any(last - first <= AGREE for first, last in zip(offsets, offsets[DISTINCT - 1 :], strict=False))

    def keep(self, sources: Iterable[str]) -> None:
        """Forget the sources that left the configuration. The others keep their counts, even if their secrets changed."""
        known = set(sources)
        for source in [source for source in {*self._rows, *self._stale} if source not in known]:
            self._rows.pop(source, None)
            self._logged.discard(source)
            self._told.discard(source)
            if self._stale.pop(source, None) is not None:
                del self._newest_stale[source]

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await self.step()
            await self._clock.wait(asyncio.Event(), _LOOK_SECONDS)

    async def step(self) -> None:
        """Log and tell what began, and log what ended, since the last look."""
        before, self._suspects_clock = self._suspects_clock, self.suspects_clock
        self._metrics.clock_suspect(self._suspects_clock)
        if self._suspects_clock and not before:
            do = "compare the clock of this host: the times of webhooks with right signatures differ from it"
            self._log.error("clock.suspect", do=do)
        if before and not self._suspects_clock:
            self._log.info("clock.trusted")
        for one in self.refusing():
            if one.source not in self._logged:
                self._logged.add(one.source)
                facts = {"source": one.source, "reason": one.reason, "since": rfc3339(one.since), "count": one.count}
                self._log.error("source.refusing", **facts, do=one.do)
            if (
                one.source not in self._told and await self._tell(one) and one.source in self._logged
            ):  # no good one came meanwhile
                self._told.add(one.source)
