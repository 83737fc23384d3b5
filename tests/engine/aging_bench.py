"""A lane and a janitor on a clock by which deliveries age, as the gateway puts them together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.records import KeptGates
from gateway.core.retry import RetryPolicy
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.maintenance.clock_jumps import LaneClock
from gateway.maintenance.invariants import Invariants
from gateway.maintenance.janitor import Janitor
from tests.engine.bench import DAY, HOUR, Bench, TroubledStore, working
from tests.fakes import FakeClock, own_events_for
from tests.support.maintenance import maintenance_of

RETENTION = 90 * DAY
SCHEDULE = (0.0, 600.0, 600.0)
LONGEST = 3600.0 * 1.1
"""Seconds that a delivery waits at most after a jump back: the longest `Retry-After`, with jitter."""


class FullStore(TroubledStore):
    """A store that refuses every change while its disk is full."""

    full = False

    async def change(self, work: Any, told: Any = None) -> Any:
        if self.full:
            raise StoreError("the disk is full")
        return await super().change(work, told)


class AgingBench(Bench):
    """A lane and a janitor that share the clock by which deliveries age, as in the gateway."""

    store: FullStore
    keeper: Janitor
    invariants: Invariants

    async def open(self, give_up_after: float = 12 * HOUR) -> None:
        log = structlog.wrap_logger(self.log, processors=[structlog.processors.format_exc_info])
        self.aging = LaneClock(self.clock)
        own_events = own_events_for(self.store, self.audit, self.clock)
        world = LaneWorld(self.store, self.audit, own_events, self.metrics, self.aging, log)
        gates = Gates(KeptGates(), BreakerPolicy(10**6, 30.0), None, self.aging)
        settings = LaneSettings(RetryPolicy(SCHEDULE, give_up_after), 16, 30.0, False)
        self.lane = Lane("erp", self.sink, settings, gates, world)
        lanes = {"erp": self.lane}
        made = maintenance_of(self.store, self.audit, lanes, self.metrics, self.clock, log, self.aging)
        self.keeper, self.invariants = made.janitor, made.invariants

    async def pass_time(self, seconds: float, tick: float = 10.0) -> None:
        """Let time pass, and make the steps of the janitor and the lane meanwhile."""
        end = self.clock.passed + seconds
        while self.clock.passed < end:
            await self.keeper.step()
            await self.work()
            self.clock.advance(min(tick, end - self.clock.passed))

    async def states(self) -> list[str]:
        return [state for (state,) in await self.rows("state")]

    def said(self, event: str) -> int:
        return sum(call.kwargs.get("event") == event for call in self.log.calls)


@asynccontextmanager
async def aging(tmp_path: Path, clock: FakeClock) -> AsyncIterator[AgingBench]:
    """A lane `erp` and its janitor on an empty store, until the end of the block."""
    log = structlog.testing.CapturingLogger()
    async with working(FullStore, tmp_path, clock, log) as (store, audit):
        bench = AgingBench(store, audit, clock, log)
        await bench.open()
        yield bench
