"""What has to happen now and then: deleting what is older than retention, closing the windows of rejections, looking at the
disk and the clock, and watching that what must hold does hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from gateway.clock import Clock
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.retry import longest_wait
from gateway.engine.lane import Lane
from gateway.engine.rejections import Rejections
from gateway.engine.space import Space
from gateway.store import operations, reads
from gateway.store.sqlite import Store
from gateway.telemetry import Log, Metrics

_SLICE = 200
_SLICE_PAUSE = 0.1
"""Seconds: 2,000 messages a second at most, which ingest does not notice; flat out it costs ingest more than half."""
_PURGE_PAUSE = 60.0
"""Seconds between two walks over the old messages."""
_TICK = 1.0
_OVERDUE = 5.0
"""Seconds that a delivery may be due while its lane is free."""
_COUNT_PAUSE = 3600.0
_MOST_COUNTED = 300_000
"""Open deliveries of a sink that are counted to check its counters; more would hold the WAL for too long."""
_DRIFT = 1.0
"""Seconds by which the wall clock may leave the monotonic one within a tick."""


class Janitor:
    def __init__(
        self,
        *,
        store: Store,
        lanes: Mapping[str, Lane],
        rejections: Rejections,
        space: Space,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._rejections = rejections
        self._space = space
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._purge_at = 0.0
        self._purged_to = 0
        self._count_at = clock.monotonic() + _COUNT_PAUSE
        self._watch_at = clock.monotonic() + _OVERDUE
        self._offset = clock.now() - clock.monotonic()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self._clock.wait(self._stopping, await self.step())
        self._rejections.flush(everything=True)

    async def step(self) -> float:
        """Do what is due; the seconds until more is."""
        self._rejections.flush()
        self._space.step()
        try:
            if self._store.trouble is not None:
                await self._store.change(operations.touch)  # the disk may have room again, and nobody else may write now
            await self._look_at_clock()
            await self._watch()
            return await self._purge()
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            self._log.warning("janitor.hindered", error=str(error))
            return _TICK

    def stop(self) -> None:
        self._stopping.set()

    async def clamp(self) -> None:
        """Bring every due time that lies further away than any back-off to the longest one: at start, and after a jump."""
        now = self._clock.now()
        for name, lane in self._lanes.items():
            await self._store.change(partial(operations.clamp_due, sink=name, latest=now + longest_wait(lane.policy)))

    async def _look_at_clock(self) -> None:
        offset = self._clock.now() - self._clock.monotonic()
        jumped, self._offset = offset - self._offset, offset
        if abs(jumped) <= _DRIFT:
            return
        self._log.warning("clock.jumped", seconds=round(jumped, 3))
        await self.clamp()
        for lane in self._lanes.values():
            lane.clock_jumped()

    async def _watch(self) -> None:
        now = self._clock.monotonic()
        if now >= self._watch_at:
            self._watch_at = now + _OVERDUE
            await self._watch_overdue()
        if now >= self._count_at:
            self._count_at = now + _COUNT_PAUSE
            await self.watch_counters()

    async def _watch_overdue(self) -> None:
        for name, lane in self._lanes.items():
            if not lane.idle:
                continue
            oldest = await self._store.read(partial(reads.oldest_due, sink=name, by_sr=lane.by_sr))
            late = self._clock.now() - oldest if oldest is not None else 0.0
            if late > _OVERDUE and lane.idle:
                self._metrics.violation("overdue")
                self._log.error("invariant.overdue", sink=name, seconds=round(late, 1), do="report this: the lane is free")
                lane.refresh()

    async def watch_counters(self) -> None:
        """Compare the counters of each sink with its table; where they differ, that is a bug of ours, and loud."""
        for name, counts in (await self._store.counts()).items():
            if counts.queued + counts.dead > _MOST_COUNTED:
                continue
            kept, counted = await self._store.read(partial(reads.counters_and_counts, sink=name))
            if kept != counted:
                self._metrics.violation("counters")
                self._log.error("invariant.counters", sink=name, kept=kept, counted=counted, do="report this")

    async def _purge(self) -> float:
        if self._clock.monotonic() < self._purge_at:
            return _TICK
        _, go_on_after = await self._store.purge(self._purged_to, _SLICE, self._clock.now() - self._store.retention)
        if go_on_after is not None:
            self._purged_to = go_on_after
            return _SLICE_PAUSE
        self._purged_to = 0
        self._purge_at = self._clock.monotonic() + _PURGE_PAUSE
        return _TICK
