"""Does once a second what the passing of time makes necessary, and deletes the messages that are older than `retention`."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.rejections import Rejections
from gateway.maintenance.clock_jumps import ClockJumps
from gateway.maintenance.invariants import Invariants
from gateway.observability.logs import Log
from gateway.observability.throughput import Throughput
from gateway.store.base import Maintaining
from gateway.store.requests import Filling

_TICK = 1.0
"""Seconds between two steps while nothing is being purged."""
PURGED_AT_ONCE = 200
"""Messages that one transaction of a purge looks at."""
_SLICE_PAUSE = 0.1
"""Seconds between two slices: 2,000 messages and 10,000 rows a second at most, which ingest does not notice. Without a pause,
a purge costs ingest more than half of its speed."""
_PURGE_PAUSE = 60.0
"""Seconds between two walks over the old messages."""
_PURGE_AFTER = 600.0
"""Seconds after a start before anything is purged: time to see, and to set, a clock that is wrong."""
_PURGE_HELD = 3600.0
"""Seconds for which nothing is purged after a jump ahead: a clock that is wrong for a while must not delete for good."""


class CleanedStore(Maintaining, Filling, Protocol):
    """The verbs that the janitor needs."""


class Janitor:
    def __init__(
        self,
        *,
        store: CleanedStore,
        clock_jumps: ClockJumps,
        invariants: Invariants,
        rejections: Rejections,
        space: DiskSpace,
        throughput: Throughput,
        lane_clock: Clock,
        clock: Clock,
        log: Log,
    ) -> None:
        """`lane_clock` tells how old a message is, whatever the wall clock does."""
        self._store = store
        self._clock_jumps = clock_jumps
        self._invariants = invariants
        self._rejections = rejections
        self._space = space
        self._throughput = throughput
        self._lane_clock = lane_clock
        self._clock = clock
        self._log = log
        self._purge_at = clock.monotonic() + _PURGE_AFTER
        self._purged_to = 0
        self._filled = self._filling = False
        """The ledger has every message; or messages of an older database are being taken into it."""
        self._refused = False
        """The store took nothing at the last step."""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Step until `stop`. Raises StoreFailed or StoreCorrupt when the disk can no longer be trusted."""
        while not self._stopping.is_set():
            await self._clock.wait(self._stopping, await self.step())
        self._rejections.flush(everything=True)

    async def step(self) -> float:
        """Do what is due. Returns the seconds until more is."""
        self._rejections.flush()
        self._space.step()
        self._throughput.step()
        if (bug := self._store.take_ledger_bug()) is not None:
            self._log.error("ledger.bug", do="report it: messages are kept and routed, but were not judged", exc_info=bug)
        try:
            if self._store.trouble is not None:
                await self._store.try_disk()  # the disk may have room again, and nothing else is written meanwhile
            if self._clock_jumps.look() > 0:
                self._purge_at = max(self._purge_at, self._clock.monotonic() + _PURGE_HELD)
            await self._clock_jumps.keep_time()
            await self._invariants.step()
            pause = min(await self._purge(), await self._fill())
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            was_refused, self._refused = self._refused, True
            if not was_refused:
                self._log.error(
                    "store.refusing",
                    error=str(error),
                    do="make room or mend the disk: until then webhooks are answered 503, and deliveries wait",
                )
            return _TICK
        was_refused, self._refused = self._refused, False
        if was_refused:
            self._log.info("store.recovered")
        return pause

    def stop(self) -> None:
        """Let `run` end after its step."""
        self._stopping.set()

    async def _fill(self) -> float:
        """Take a slice of an older database into the ledger. Returns the seconds until the next one is due."""
        if self._filled:
            return _TICK
        progress = await self._store.fill_ledger()
        self._filled = progress.complete
        if progress.complete and self._filling:
            self._log.info("ledger.filled", messages_to=progress.judged_to)
        self._filling = not progress.complete
        return _SLICE_PAUSE if self._filling else _TICK

    async def _purge(self) -> float:
        """Delete one slice of old messages. Returns the seconds until the next one may be due."""
        if self._clock.monotonic() < self._purge_at or self._invariants.counting:
            return _TICK
        _, go_on_after = await self._store.purge(self._purged_to, PURGED_AT_ONCE, self._lane_clock.now() - self._store.retention)
        if go_on_after is not None:
            self._purged_to = go_on_after
            return _SLICE_PAUSE
        self._purged_to = 0
        self._purge_at = self._clock.monotonic() + _PURGE_PAUSE
        return _TICK
