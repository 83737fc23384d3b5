"""Fixtures for the tests of one lane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from tests.engine.bench import Bench, TroubledStore, working
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
