"""A person discards or replays a delivery while its lane works on it."""

from __future__ import annotations

import asyncio

from gateway.core.outcome import Delivered, Reason, Reject
from tests.engine.bench import FAILS, Bench, ids, spin
from tests.fakes import FakeClock
from tests.support.waiting import PATIENCE


async def test_a_delivery_that_is_discarded_while_it_waits_in_memory_is_not_sent(bench: Bench) -> None:
    await bench.start(concurrency=1)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        owed = await bench.give(4)
        await bench.until_sent(1)
        await bench.discard(*owed[1:3])
        bench.lane.refresh()
        bench.sink.gate.set()
        await bench.until_sent(2)
        await bench.until_idle()
        await spin()
    assert bench.order == ids([owed[0], owed[3]])
    assert await bench.rows("state") == [("delivered",), ("discarded",), ("discarded",), ("delivered",)]


async def test_a_delivery_that_is_discarded_in_flight_stays_discarded_and_is_not_tried_again(
    bench: Bench, clock: FakeClock
) -> None:
    bench.sink.gate, bench.sink.answer = asyncio.Event(), FAILS
    async with bench.running():
        (owed,) = await bench.give()
        await bench.until_sent(1)
        await bench.discard(owed)
        bench.lane.refresh()
        bench.sink.gate.set()
        await bench.until_idle()
        for _ in range(10):
            await spin()
            clock.advance(10.0)
    assert len(bench.sink.sent) == 1
    assert await bench.rows("state, due_ms") == [("discarded", None)]
    announced = [line for line in await bench.lines() if "next_attempt_at" in line]
    assert announced == []  # no audit line announces a next attempt that will never be made


async def test_a_delivery_that_is_discarded_while_its_lane_reads_it_is_not_sent(bench: Bench) -> None:
    owed = await bench.give(2)
    bench.lane.refresh()
    bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as sends:
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        await bench.discard(owed[0])
        bench.lane.refresh()
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    await bench.work()
    assert bench.order == ids(owed[1:])


async def test_a_delivery_replayed_before_its_lane_knows_of_its_end_is_not_forgotten(bench: Bench) -> None:
    """Its death is on disk, but it still counts as in flight: a claim leaves it out."""
    bench.sink.answer = Reject(Reason.REJECTED, "HTTP 410", 410)
    bench.store.tell = asyncio.Event()
    (owed,) = await bench.give()
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        while await bench.queued():
            await spin()
        await bench.replay(owed)
        bench.lane.refresh()
        await bench.lane.step(sends)
        assert len(bench.sink.sent) == 1
        bench.sink.answer = Delivered(200)
        bench.store.tell.set()
    await bench.work()
    assert bench.order == ids([owed, owed])
    assert await bench.rows("state, attempts") == [("delivered", 2)]
