"""The memory that waiting deliveries may take is bounded and shared by all lanes; a lane that gets none still delivers."""

from __future__ import annotations

import asyncio

from gateway.core.records import Claimed, Message, Owed
from gateway.delivery.memory import Memory
from gateway.delivery.waiting import Waiting
from tests.engine.bench import Bench
from tests.fakes import START


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


async def test_a_delivery_that_is_offered_while_a_claim_runs_is_left_to_the_store() -> None:
    """It may be in the claim already, and a worker that took it from memory would send it a second time."""
    memory = Memory(6000)
    waiting = Waiting(memory.account())
    older, fresh = (Owed(seq, "erp", Message(f"{seq:032x}", "legitmark", None, START, None, b"{}"), START) for seq in (1, 2))
    waiting.memory.take(5000)  # in flight

    async def claim(room: int) -> Claimed:
        waiting.memory.give(5000)  # a worker ends, so that there is room
        waiting.add(fresh, in_order=False)
        assert not waiting.ready
        return Claimed(owed=(older, fresh), more=False, next_due=None, seen_to=2)

    await waiting.refill(claim)
    assert list(waiting.ready) == [older, fresh] and waiting.backlog
    assert memory.used == older.size + fresh.size
