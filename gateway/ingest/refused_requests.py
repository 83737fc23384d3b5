"""Keeps well-formed requests that fit no secret, until the right secret is configured (`gateway reverify`).

Strangers can send any number of them, so that keeping them has to cost next to nothing: a bounded queue, a thread of its own, a
bounded number of bytes a second, no fsync, and nothing at all while the disk is short of room. A request without a place is
dropped and counted; its sender keeps it, and sends it again. Trouble with the file changes the answer to no webhook.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from gateway.core.errors import StoreError
from gateway.core.kept_requests import KeptRequests, RefusedRequest
from gateway.host.blocking import Worker
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.store.refused import RefusedStore

_T = TypeVar("_T")
MOST_WAITING = 1000
"""Requests that may wait for the disk."""
_MOST_WAITING_BYTES = 4 * 1024 * 1024
_BYTES_A_SECOND = 4.0 * 1024 * 1024
"""Bytes that are kept a second, on average: more would take the disk from the commits that a 200 waits for."""
_BURST = 16.0 * 1024 * 1024
"""Bytes that may be kept at once after a quiet time."""
_LEAST_COST = 4096
"""Bytes that a request counts as, at least, for the two rates."""
_END_SECONDS = 5.0
"""Seconds that a stop waits for the thread."""


class RefusedRequests:
    """A bounded queue before the file of refused requests, and the thread that writes it."""

    def __init__(
        self,
        store: RefusedStore,
        *,
        limits: Mapping[str, int],
        retention: float,
        space: DiskSpace,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            limits: bytes by source; a source that is missing, or has 0, keeps none.
            retention: seconds for which a duplicate is known; an older request could not be told from a new message.
        """
        self._store = store
        """Only the thread uses it."""
        self._limits = dict(limits)
        self._retention = retention
        self._space = space
        self._metrics = metrics
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say
        self._thread = Worker("refused")
        self._lock = threading.Lock()
        self._waiting: list[RefusedRequest] = []
        self._waiting_bytes = 0
        self._budget = _BURST
        self._budget_at = clock.monotonic()
        self._kept: dict[str, KeptRequests] = {}

    def start(self) -> None:
        """Soon look at what is kept from before. The gateway starts even if the file cannot be read, or hangs."""
        with suppress(RuntimeError):
            self._thread.submit(self._look)

    def use(self, limits: Mapping[str, int], retention: float) -> None:
        """Use other limits; a source whose limit became 0 soon loses what was kept of it."""
        self._limits = dict(limits)
        self._retention = retention
        self.start()

    async def forget_old(self) -> None:
        """Delete what is older than retention, and everything of sources that keep nothing. Raises StoreError."""
        await self._in_thread(self._forget)

    def put(self, request: RefusedRequest) -> None:
        """Queue a request to be kept soon, or drop it. Returns at once and never raises."""
        try:
            limit = self._limits.get(request.source, 0)
            if limit <= 0:
                return
            why = self._no_place_for(request, limit)
            if why is not None:
                self._metrics.refused_dropped(request.source, why)
                return
            with self._lock:
                self._waiting.append(request)
                self._waiting_bytes += request.size
                idle = len(self._waiting) == 1
            if idle:
                self._thread.submit(self._write)
        except Exception:  # the thread has ended, for example, because the gateway stops
            self._metrics.refused_dropped(request.source, "error")

    @property
    def kept(self) -> Mapping[str, KeptRequests]:
        """How much is kept of each source, as far as it is written."""
        return self._kept

    async def kept_of(self, source: str) -> KeptRequests:
        """Count what is kept of a source now. Raises StoreError."""
        await self._in_thread(self._count)
        return self._kept.get(source, KeptRequests())

    async def page(self, source: str, after: int, last: int, most: int, most_bytes: int) -> list[RefusedRequest]:
        """Read some requests of a source beyond one seq and up to another. Raises StoreError."""
        return await self._in_thread(lambda: self._store.page(source, after, last, most, most_bytes))

    async def remove(self, seqs: Sequence[int]) -> None:
        """Delete requests by their seqs. Raises StoreError."""

        def remove() -> None:
            self._store.remove(seqs)
            self._count()

        await self._in_thread(remove)

    async def close(self) -> None:
        """Write what waits, and close the file; do not wait for a disk that hangs."""
        with suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(_END_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown(wait=False)

    def _no_place_for(self, request: RefusedRequest, limit: int) -> str | None:
        """Return why a request has to be dropped; None if it may be kept."""
        if request.size > limit:
            return "size"
        # With this much room, everything that may be kept cannot fill the disk so far that webhooks are refused.
        if self._space.low or self._space.free - self._space.least < limit:
            return "disk"
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + request.size > _MOST_WAITING_BYTES:
            return "rate"
        now, cost = self._clock.monotonic(), max(request.size, _LEAST_COST)
        self._budget = min(_BURST, self._budget + (now - self._budget_at) * _BYTES_A_SECOND)
        self._budget_at = now
        if cost > self._budget:
            return "rate"
        self._budget -= cost
        return None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Write what waits, then run a function in the thread of the file."""

        def written_before() -> _T:
            self._write()
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, written_before)
        except RuntimeError:
            raise StoreError("the gateway is stopping") from None

    # The methods below run in the thread.

    def _look(self) -> None:
        self._write()
        with suppress(StoreError):
            self._forget()

    def _forget(self) -> None:
        off = [source for source in self._store.kept() if self._limits.get(source, 1) <= 0]
        self._store.forget(off, self._clock.now() - self._retention)
        self._count()

    def _end(self) -> None:
        self._write()
        self._store.close()

    def _write(self) -> None:
        """Write the requests that have gathered, in one transaction."""
        with self._lock:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not batch:
            return
        try:
            self._store.keep(batch, self._limits)
            self._count()
        except Exception as error:
            for request in batch:
                self._metrics.refused_dropped(request.source, "error")
            self._say("warning", "refused.lost", error=str(error), requests=len(batch))

    def _count(self) -> None:
        before, self._kept = self._kept, self._store.kept()
        for source in before.keys() | self._kept.keys():
            kept = self._kept.get(source, KeptRequests())
            self._metrics.refused_kept(source, kept.count, kept.bytes)
