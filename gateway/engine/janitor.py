"""What has to happen now and then: deleting what is older than retention, and closing the windows of rejections."""

from __future__ import annotations

import asyncio

from gateway.clock import Clock
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.engine.rejections import Rejections
from gateway.store.sqlite import Store
from gateway.telemetry import Log

_SLICE = 200
_SLICE_PAUSE = 0.1
"""Seconds: 2,000 messages a second at most, which ingest does not notice; flat out it costs ingest more than half."""
_PURGE_PAUSE = 60.0
"""Seconds between two walks over the old messages."""
_TICK = 1.0


class Janitor:
    def __init__(self, *, store: Store, rejections: Rejections, clock: Clock, log: Log) -> None:
        self._store = store
        self._rejections = rejections
        self._clock = clock
        self._log = log
        self._purge_at = 0.0
        self._purged_to = 0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self._clock.wait(self._stopping, await self.step())
        self._rejections.flush(everything=True)

    async def step(self) -> float:
        """Do what is due; the seconds until more is."""
        self._rejections.flush()
        if self._clock.monotonic() < self._purge_at:
            return _TICK
        try:
            _, go_on_after = await self._store.purge(self._purged_to, _SLICE, self._clock.now() - self._store.retention)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            self._log.warning("purge.failed", error=str(error))
            go_on_after = None
        if go_on_after is not None:
            self._purged_to = go_on_after
            return _SLICE_PAUSE
        self._purged_to = 0
        self._purge_at = self._clock.monotonic() + _PURGE_PAUSE
        return _TICK

    def stop(self) -> None:
        self._stopping.set()
