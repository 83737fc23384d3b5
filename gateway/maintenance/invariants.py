"""Watches what must always hold: no delivery stays due while its lane is free, and the counters of a sink match its deliveries.

A violation is a bug in the gateway. It is logged and counted; the lane is woken, and the counters are set right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from gateway.core.documents import CounterPage
from gateway.core.records import Counts
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.store.base import Maintaining

_OVERDUE = 5.0
"""Seconds that a delivery may be due while its lane is free; also the seconds between two looks for such deliveries."""
_COUNT_PAUSE = 3600.0
"""Seconds between two counts of all deliveries."""
_MOST_COUNTED = 300_000
"""Open deliveries of a sink that are counted at once to check its counters; more would hold the write-ahead log for too long."""
COUNTED_AT_ONCE = 10_000
"""Messages whose deliveries are counted in one read transaction."""


class Invariants:
    def __init__(self, *, store: Maintaining, lanes: Mapping[str, Lane], metrics: Metrics, clock: Clock, log: Log) -> None:
        """`clock` is the one by which the lanes plan deliveries."""
        self._store = store
        self._lanes = lanes
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._look_at = clock.monotonic() + _OVERDUE
        self._count_at = clock.monotonic() + _COUNT_PAUSE
        self._walk = _Walk()
        self._suspects: frozenset[tuple[str, str]] = frozenset()
        """The counters that the last count found wrong: a replay in the middle of it can do that once, but not twice."""

    @property
    def counting(self) -> bool:
        """A count is under way, so nothing may be purged."""
        return self._walk.begun

    async def step(self) -> None:
        """Check what is due for a check. Raises StoreError."""
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _OVERDUE
            await self._check_due_times()
        if now >= self._count_at and await self.check_counters():
            self._count_at = now + _COUNT_PAUSE

    async def check_counters(self) -> bool:
        """Count one page of all deliveries, and after the last page compare the counters of each sink with what was counted.

        Returns False while there is more to count.
        """
        after = self._walk.go_on_after
        self._walk.add(await self._store.count_page(after, COUNTED_AT_ONCE))
        if not self._walk.at_end:
            return False
        exact = await self._check_open_deliveries()
        wrong, self._walk = self._walk.wrong(), _Walk()
        for (name, what), (least, most, counted) in wrong.items():
            if (name, what) in self._suspects:
                self._report(name, what, (least, most), counted)
                if what != "all" or name not in exact:
                    state = "queued" if what == "all" else what
                    await self._mend(name, {state: counted - (least if counted < least else most)})
        again = wrong.keys() - self._suspects
        self._suspects = frozenset(wrong)
        return not again  # what is wrong for the first time is counted once more, at once

    async def _check_due_times(self) -> None:
        for name, lane in list(self._lanes.items()):
            if not lane.idle:
                continue
            oldest = await self._store.oldest_due(name, by_sr=lane.by_sr)
            late = self._clock.now() - oldest if oldest is not None else 0.0
            if late > _OVERDUE and lane.idle:
                lane.refresh()
                self._metrics.violation("overdue")
                self._log.error(
                    "invariant.overdue", sink=name, seconds=round(late, 1), do="report this as a bug: the lane was free"
                )

    async def _check_open_deliveries(self) -> set[str]:
        """Compare the counters of each sink with its open deliveries in one read. Returns the sinks that it checked."""
        checked = set[str]()
        for name in self._walk.sinks:
            counts = self._walk.last.get(name, Counts())
            if counts.queued + counts.dead <= _MOST_COUNTED:
                checked.add(name)
                recount = await self._store.recount(name)
                kept, counted = (recount.kept_queued, recount.kept_dead), (recount.counted_queued, recount.counted_dead)
                if kept != counted:
                    self._report(name, "queued, dead", kept, counted)
                    await self._mend(name, {"queued": counted[0] - kept[0], "dead": counted[1] - kept[1]})
        return checked

    async def _mend(self, sink: str, by: dict[str, int]) -> None:
        """Set counters right by their difference from a count: a delivery that changes meanwhile changes both alike."""
        await self._store.mend_counters(sink, by)

    def _report(self, sink: str, what: str, kept: tuple[int, int], counted: object) -> None:
        self._metrics.violation("counters")
        self._log.error("invariant.counters", sink=sink, what=what, kept=kept, counted=counted, do="report this as a bug")


class _Walk:
    """A count of all deliveries, page by page beside the traffic.

    The delivered, discarded and all deliveries of a sink only become more while nothing is purged and no delivered one is
    replayed. So a right count is between the counters at the first page and those at the last one.
    """

    def __init__(self) -> None:
        self.go_on_after = 0
        self.begun = False
        self.at_end = False
        self.last: dict[str, Counts] = {}
        """The counters at the last page."""
        self._first: dict[str, Counts] = {}
        self._found: Counter[tuple[str, str]] = Counter()

    def add(self, page: CounterPage) -> None:
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
        """The counts that cannot be right, by sink and kind: the least and the most that they may be, and the count."""
        none = Counts(queued=0, delivered=0, dead=0, discarded=0)
        wrong = {}
        for sink in self.sinks:
            first, last = self._first.get(sink, none), self.last.get(sink, none)
            found = Counts(**{state: self._found[sink, state] for state in Counts.__struct_fields__})
            for what, of in _GROWING.items():
                if not of(first) <= of(found) <= of(last):
                    wrong[sink, what] = (of(first), of(last), of(found))
        return wrong


_GROWING: dict[str, Callable[[Counts], int]] = {
    "delivered": lambda counts: counts.delivered,
    "discarded": lambda counts: counts.discarded,
    "all": lambda counts: counts.queued + counts.delivered + counts.dead + counts.discarded,
}
"""The numbers of a sink that only grow while a walk goes on."""
