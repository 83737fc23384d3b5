"""Notices when the wall clock jumps, and keeps planned times and ages right: they follow the time that has passed, not the date.

Instants outside the store are wall time. The store itself keeps instants of a time that never jumps, so that a jump changes one
number there and no delivery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.store.base import Maintaining

_DRIFT = 1.0
"""Seconds by which the wall clock may leave the monotonic clock between two looks."""
_KEEP_TIME = 60.0
"""Seconds between two writes of the time, by which the next start sees that the clock went back meanwhile."""


class LaneClock(Clock):
    """The clock by which deliveries are planned and grow old: the wall clock, until it jumps.

    From a jump until the next `follow`, time goes on here as if there had been none.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()
        """Seconds from monotonic to wall time, at the last `follow`."""

    def now(self) -> float:
        wall, unjumped = self._clock.now(), self._clock.monotonic() + self._offset
        return wall if abs(wall - unjumped) <= _DRIFT else unjumped

    def planned(self, instant: float) -> float:
        wall, unjumped = self._clock.now(), self._clock.monotonic() + self._offset
        if abs(wall - unjumped) <= _DRIFT or abs(instant - unjumped) < abs(instant - wall):
            return instant
        return instant - (wall - unjumped)

    def follow(self) -> float:
        """Go by the wall clock as it is now. Returns the seconds by which it jumped since the last time; 0.0 if it did not."""
        before, self._offset = self._offset, self._clock.now() - self._clock.monotonic()
        jumped = self._offset - before
        return jumped if abs(jumped) > _DRIFT else 0.0

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def jitter(self) -> float:
        return self._clock.jitter()

    def new_id(self) -> str:
        return self._clock.new_id()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        return await self._clock.wait(event, seconds)


class ClockJumps:
    """Tells the store, the clock of the lanes and the lanes of every jump."""

    def __init__(self, *, store: Maintaining, lanes: Mapping[str, Lane], lane_clock: LaneClock, clock: Clock, log: Log) -> None:
        self._store = store
        self._lanes = lanes
        self._lane_clock = lane_clock
        self._clock = clock
        self._log = log
        self._keep_time_at = clock.monotonic()

    def look(self) -> float:
        """Look at the wall clock, and tell the store and the lanes of a jump.

        Returns the seconds by which it jumped since the last look; 0.0 if it did not.
        """
        jumped = self._lane_clock.follow()
        if jumped:
            # No await between these, so that no other task sees one half of a jump.
            self._store.shift_clock(jumped)
            for lane in list(self._lanes.values()):
                lane.clock_jumped()
            self._keep_time_at = self._clock.monotonic()
            self._log.warning("clock.jumped", seconds=round(jumped, 3))
        return jumped

    async def keep_time(self) -> None:
        """Have the store write down the time if that is due: after a jump, and once a minute. Raises StoreError."""
        monotonic = self._clock.monotonic()
        if monotonic >= self._keep_time_at:
            await self._store.keep_time(self._clock.now())
            self._keep_time_at = monotonic + _KEEP_TIME
