"""What has to happen now and then: deleting what is older than retention, closing the windows of rejections, looking at the
disk and the clock, and watching that what must hold does hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Counts
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.ingest.disk_space import Space
from gateway.ingest.rejections import Rejections
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Pace
from gateway.store.sqlite import operations, reads
from gateway.store.sqlite.store import Store

_SLICE = 200
_SLICE_PAUSE = 0.1
"""Seconds: 2,000 messages and 10,000 rows a second at most, which ingest does not notice. Flat
out it costs ingest more than half."""
_PURGE_PAUSE = 60.0
"""Seconds between two walks over the old messages."""
_TICK = 1.0
_OVERDUE = 5.0
"""Seconds that a delivery may be due while its lane is free."""
_COUNT_PAUSE = 3600.0
_MOST_COUNTED = 300_000
"""Open deliveries of a sink that are counted to check its counters; more would hold the WAL for too long."""
_COUNTED_AT_ONCE = 10_000
"""Messages whose deliveries are counted in one read transaction, one each tick."""
_DRIFT = 1.0
"""Seconds by which the wall clock may leave the monotonic one within a tick."""
_KEEP_TIME = 60.0
"""Seconds between two writes of the time, by which the next start sees that the clock went back meanwhile."""
_PURGE_AFTER = 600.0
"""Seconds after a start before anything is purged: time to see, and to set, a clock that is wrong."""
_PURGE_HELD = 3600.0
"""Seconds for which nothing is purged after a jump ahead: a clock that is wrong for a while must not delete for good."""


class LaneClock(Clock):
    """The clock by which deliveries are planned and age: the wall clock, until that jumps.

    Until the janitor has told the store of a jump, time goes on here as if there had been none.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.offset = clock.now() - clock.monotonic()
        """Seconds from monotonic to wall time, at the janitor's last look."""

    def now(self) -> float:
        wall, unjumped = self._clock.now(), self._clock.monotonic() + self.offset
        return wall if abs(wall - unjumped) <= _DRIFT else unjumped

    def planned(self, instant: float) -> float:
        wall, unjumped = self._clock.now(), self._clock.monotonic() + self.offset
        if abs(wall - unjumped) <= _DRIFT or abs(instant - unjumped) < abs(instant - wall):
            return instant
        return instant - (wall - unjumped)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def jitter(self) -> float:
        return self._clock.jitter()

    def new_id(self) -> str:
        return self._clock.new_id()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        return await self._clock.wait(event, seconds)


class Janitor:
    def __init__(
        self,
        *,
        store: Store,
        lanes: Mapping[str, Lane],
        rejections: Rejections,
        space: Space,
        pace: Pace,
        metrics: Metrics,
        clock: Clock,
        log: Log,
        lane_clock: LaneClock | None = None,
    ) -> None:
        """`lane_clock` is what the lanes have, where they have another one than `clock`."""
        self._store = store
        self._lanes = lanes
        self._rejections = rejections
        self._space = space
        self._pace = pace
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._purge_at = clock.monotonic() + _PURGE_AFTER
        self._purged_to = 0
        self._count_at = clock.monotonic() + _COUNT_PAUSE
        self._watch_at = clock.monotonic() + _OVERDUE
        self._walk = _Walk()
        self._suspects: frozenset[tuple[str, str]] = frozenset()
        """What the last walk found wrong: a replay in the middle of it can do that once, but not twice."""
        self._lane_clock = lane_clock or LaneClock(clock)
        self._keep_time_at = clock.monotonic()
        self._refused = False
        """The store took nothing at the last look."""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self._clock.wait(self._stopping, await self.step())
        self._rejections.flush(everything=True)

    async def step(self) -> float:
        """Do what is due; the seconds until more is."""
        self._rejections.flush()
        self._space.step()
        self._pace.step()
        try:
            if self._store.trouble is not None:
                await self._store.change(operations.touch)  # the disk may have room again, and nobody else may write now
            await self._look_at_clock()
            await self._watch()
            pause = await self._purge()
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            was_refused, self._refused = self._refused, True
            if not was_refused:
                self._log.error("store.refusing", error=str(error), do="webhooks are answered 503, and deliveries wait")
            return _TICK
        was_refused, self._refused = self._refused, False
        if was_refused:
            self._log.info("store.recovered")
        return pause

    def stop(self) -> None:
        self._stopping.set()

    async def _look_at_clock(self) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        jumped = now - monotonic - self._lane_clock.offset
        self._lane_clock.offset = now - monotonic
        if abs(jumped) > _DRIFT:
            # All at once, so that nobody reckons with one half of it: the store, the clock of the lanes, and the lanes.
            self._store.timeline.jump(jumped)
            self._keep_time_at = monotonic
            if jumped > 0:
                self._purge_at = max(self._purge_at, monotonic + _PURGE_HELD)
            for lane in list(self._lanes.values()):
                lane.clock_jumped()
            self._log.warning("clock.jumped", seconds=round(jumped, 3))
        if monotonic >= self._keep_time_at:
            await self._store.change(partial(operations.keep_time, jumped_ms=self._store.timeline.jumped_ms, seen=now))
            self._keep_time_at = monotonic + _KEEP_TIME

    async def _watch(self) -> None:
        now = self._clock.monotonic()
        if now >= self._watch_at:
            self._watch_at = now + _OVERDUE
            await self._watch_overdue()
        if now >= self._count_at and await self.watch_counters():
            self._count_at = now + _COUNT_PAUSE

    async def _watch_overdue(self) -> None:
        for name, lane in list(self._lanes.items()):
            if not lane.idle:
                continue
            oldest = await self._store.oldest_due(name, by_sr=lane.by_sr)
            late = self._lane_clock.now() - oldest if oldest is not None else 0.0
            if late > _OVERDUE and lane.idle:
                lane.refresh()
                self._metrics.violation("overdue")
                self._log.error("invariant.overdue", sink=name, seconds=round(late, 1), do="report this: the lane is free")

    async def watch_counters(self) -> bool:
        """Compare the counters of each sink with its table, a page of it each time; False: there is more to count.

        Where they differ, that is a bug of ours, and loud; they are set right.
        """
        after = self._walk.go_on_after
        self._walk.add(await self._store.ask(partial(reads.count_page, after=after, size=_COUNTED_AT_ONCE)))
        if not self._walk.at_end:
            return False
        counted_now = set[str]()
        for name in self._walk.sinks:
            counts = self._walk.last.get(name, Counts())
            if counts.queued + counts.dead <= _MOST_COUNTED:
                counted_now.add(name)
                kept, counted = await self._store.read(partial(reads.counters_and_counts, sink=name))
                if kept != counted:
                    self._differ(name, "queued, dead", kept, counted)
                    await self._mend(name, {"queued": counted[0] - kept[0], "dead": counted[1] - kept[1]})
        wrong, self._walk = self._walk.wrong(), _Walk()
        for (name, what), (least, most, counted_) in wrong.items():
            if (name, what) in self._suspects:
                self._differ(name, what, (least, most), counted_)
                if what != "all" or name not in counted_now:
                    state = "queued" if what == "all" else what
                    await self._mend(name, {state: counted_ - (least if counted_ < least else most)})
        again = wrong.keys() - self._suspects
        self._suspects = frozenset(wrong)
        return not again  # what is wrong for the first time is counted once more, at once

    async def _mend(self, sink: str, by: dict[str, int]) -> None:
        """Set counters right by what they differ from a count; what changes meanwhile changes both alike."""
        await self._store.change(partial(operations.mend_counters, sink=sink, by=by))

    def _differ(self, sink: str, what: str, kept: tuple[int, int], counted: object) -> None:
        self._metrics.violation("counters")
        self._log.error("invariant.counters", sink=sink, what=what, kept=kept, counted=counted, do="report this")

    async def _purge(self) -> float:
        if self._clock.monotonic() < self._purge_at or self._walk.begun:
            return _TICK
        _, go_on_after = await self._store.purge(self._purged_to, _SLICE, self._lane_clock.now() - self._store.retention)
        if go_on_after is not None:
            self._purged_to = go_on_after
            return _SLICE_PAUSE
        self._purged_to = 0
        self._purge_at = self._clock.monotonic() + _PURGE_PAUSE
        return _TICK


class _Walk:
    """The whole table, counted page by page beside the traffic.

    A sink's delivered, discarded and all its deliveries only become more while nothing is purged and no delivered one is
    replayed: what was counted lies between its counters at the first page and those at the last.
    """

    def __init__(self) -> None:
        self.go_on_after = 0
        self.begun = False
        self.at_end = False
        self.last: dict[str, Counts] = {}
        """The counters at the last page."""
        self._first: dict[str, Counts] = {}
        self._found: Counter[tuple[str, str]] = Counter()

    def add(self, page: reads.Page) -> None:
        if not self.begun:
            self._first = page.counters
        self.begun, self.last = True, page.counters
        self._found.update(page.found)
        self.at_end = page.go_on_after is None
        self.go_on_after = page.go_on_after or 0

    @property
    def sinks(self) -> list[str]:
        return sorted(self.last.keys() | {sink for sink, _ in self._found})

    def wrong(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Return the counters that are wrong, by sink and state: the least and the most that each may be, and what it is."""
        none = Counts(queued=0, delivered=0, dead=0, discarded=0)
        wrong = {}
        for sink in self.sinks:
            first, last = self._first.get(sink, none), self.last.get(sink, none)
            found = Counts(**{state: self._found[sink, state] for state in Counts.__struct_fields__})
            for what, of in _WHAT.items():
                if not of(first) <= of(found) <= of(last):
                    wrong[sink, what] = (of(first), of(last), of(found))
        return wrong


_WHAT: dict[str, Callable[[Counts], int]] = {
    "delivered": lambda counts: counts.delivered,
    "discarded": lambda counts: counts.discarded,
    "all": lambda counts: counts.queued + counts.delivered + counts.dead + counts.discarded,
}
