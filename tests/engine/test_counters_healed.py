"""The janitor finds wrong counters, reports them once, and sets them to what it counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.selection import Target
from tests.engine.janitor_bench import JanitorBench, alarms, an_hour, janitor_at_work, violations
from tests.fakes import FakeClock
from tests.store.kit import assert_counters_right, run_sql

WRONG = {
    "queued too high": "UPDATE counters SET queued = queued + 7",
    "queued below zero": "UPDATE counters SET queued = -5",
    "dead too low": "UPDATE counters SET dead = 0",
    "dead too high": "UPDATE counters SET dead = dead + 1000",
    "delivered too low": "UPDATE counters SET delivered = delivered - 1",
    "discarded too high": "UPDATE counters SET discarded = discarded + 2",
    "all of them wrong": "UPDATE counters SET queued = 9, delivered = 9, dead = 9, discarded = 9",
    "no row": "DELETE FROM counters",
}


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[JanitorBench]:
    async with janitor_at_work(tmp_path, clock) as bench:
        yield bench


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_counter_is_reported_and_corrected_while_deliveries_go_on(bench: JanitorBench, wrong: str) -> None:
    for state in ("queued", "delivered", "dead"):
        await bench.add(state, number=3)
    discarded = [Target(1, "erp")]
    await bench.store.discard(discarded, now=bench.clock.now(), actor="ann")
    await run_sql(bench.store, wrong)
    for state in ("queued", "delivered", "dead"):  # no transaction fails because of it
        await bench.add(state)
    await an_hour(bench)
    await an_hour(bench)
    await assert_counters_right(bench.store)
    said = alarms(bench, "invariant.counters")
    assert said and violations(bench, "counters") == len(said)
    await an_hour(bench)
    assert alarms(bench, "invariant.counters") == said  # a corrected counter is not reported again
