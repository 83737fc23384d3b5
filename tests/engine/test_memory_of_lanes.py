"""The memory that waiting deliveries may take is bounded and shared by all lanes; a lane that gets none still delivers."""

from __future__ import annotations

import asyncio

from gateway.delivery.memory import Memory
from tests.engine.bench import Bench


async def test_memory_is_freed_when_deliveries_end_fail_are_dropped_or_expire(bench: Bench) -> None:
    bench.memory = Memory(8 * 4096)
    lane = await bench.start(concurrency=4)
    gate = bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(50)
        await bench.until_sent(1)
        assert 0 < bench.memory.used <= bench.memory.limit
        lane.refresh()
        gate.set()
        await bench.until_sent(50)
        await bench.until_idle()
    assert bench.memory.used == 0


async def test_a_lane_delivers_one_by_one_while_others_hold_all_the_memory(bench: Bench) -> None:
    bench.memory = Memory(1000)
    others = bench.memory.account()
    others.take(5000)
    await bench.start()
    async with bench.running():
        await bench.give(30)
        await bench.until_sent(30)
        await bench.until_idle()
    assert bench.memory.used == 5000
    assert await bench.rows("DISTINCT state, attempts") == [("delivered", 1)]
