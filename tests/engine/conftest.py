"""Fixtures for the tests of one lane, and of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from tests.engine.bench import Bench, TroubledStore, working
from tests.engine.lanes_bench import ERP, FullStore, LanesBench
from tests.fakes import FakeClock


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    log = structlog.testing.CapturingLogger()
    async with working(TroubledStore, tmp_path, clock, log) as (store, audit):
        bench = Bench(store, audit, clock, log)
        await bench.start()
        yield bench


@pytest.fixture
async def no_breaker(bench: Bench) -> None:
    """Give the lane of `bench` a breaker that never opens."""
    bench.failures = 10**6
    await bench.start()


@pytest.fixture
async def all_lanes(tmp_path: Path, clock: FakeClock) -> AsyncIterator[LanesBench]:
    """The lanes of a configuration with one sink, `erp`, over a store whose disk a test can fill."""
    log = structlog.testing.CapturingLogger()
    async with working(FullStore, tmp_path, clock, log) as (store, audit):
        all_lanes = LanesBench(Bench(store, audit, clock, log), tmp_path)
        await all_lanes.use(ERP)
        yield all_lanes
