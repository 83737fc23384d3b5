"""One lane on a real store, with a clock that tests move: its order, its memory, its slots."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.core.outcome import Delivered
from gateway.core.records import Message, Owed
from tests.engine.bench import FAILS, Bench, ids, spin
from tests.fakes import START, FakeClock

pytestmark = pytest.mark.usefixtures("no_breaker")


async def test_the_backlog_goes_before_new_deliveries(bench: Bench, clock: FakeClock) -> None:
    """While the store has due rows, nothing is handed to the lane from memory: oldest first."""
    await bench.start(concurrency=1)
    old = []
    for _ in range(150):  # more than one claim
        old += await bench.accept()
        clock.advance(1.0)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.until_sent(1)
        fresh = await bench.give(20)
        bench.sink.gate.set()
        await bench.until_sent(170)
    assert bench.order == ids(old + fresh)


async def test_a_due_retry_goes_before_deliveries_that_came_later(bench: Bench, clock: FakeClock) -> None:
    await bench.start(concurrency=1)
    bench.sink.answer = lambda delivery: FAILS if delivery.attempt == 1 and len(bench.sink.sent) == 1 else Delivered()
    (first,) = await bench.give()
    await bench.work()
    clock.advance(5.0)
    later = await bench.give(3)
    await bench.work()
    assert bench.order == ids([first, first, *later])


async def test_a_backlog_larger_than_the_memory_is_neither_lost_nor_repeated(bench: Bench) -> None:
    await bench.start(concurrency=4)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        first = await bench.give(4)
        await bench.until_sent(4)
        owed = first + await bench.give(600)
        assert len(bench.sink.sent) == 4  # the slots are taken
        bench.sink.gate.set()
        await bench.until_sent(604)
        await bench.until_idle()
        more = await bench.give(3)  # and memory is used again
        await bench.until_sent(607)
    assert Counter(bench.order) == Counter(ids(owed + more))
    assert await bench.rows("DISTINCT state, attempts") == [("delivered", 1)]


async def test_memory_is_bounded_in_bytes_too(bench: Bench) -> None:
    await bench.start(concurrency=1)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give()
        await bench.until_sent(1)
        for owed in await bench.accept(40):
            big = Owed(owed.seq, "erp", Message(owed.message.id, "legitmark", None, START, None, b"x" * 1024 * 1024), START)
            bench.lane.offer(big, bench.clock.now())
        assert bench.memory.used <= 8 * 1024 * 1024
        bench.sink.gate.set()
        await bench.until_sent(41)
    assert max(Counter(bench.order).values()) == 1


@pytest.mark.parametrize("concurrency", [1, 3, 16])
async def test_there_are_never_more_attempts_in_flight_than_slots(bench: Bench, concurrency: int) -> None:
    await bench.start(concurrency=concurrency)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(30)
        await bench.until_sent(concurrency)
        await spin()
        assert len(bench.sink.sent) == concurrency
        bench.sink.gate.set()
        await bench.until_sent(30)


async def test_a_delivery_that_was_claimed_is_not_taken_again_when_it_is_offered_late(bench: Bench) -> None:
    """A claim can read a delivery in the turn of the loop between its commit and its offer."""
    (owed,) = await bench.accept()
    await bench.work()
    bench.offer(owed)
    await bench.work()
    assert bench.order == ids([owed])
    assert [line["event"] for line in await bench.lines()] == ["delivery.delivered"]


async def test_a_lane_without_a_free_slot_sleeps_even_if_a_retry_is_due(bench: Bench, clock: FakeClock) -> None:
    """A pause of 0 would make `run` spin without ever giving the loop back: the whole process would stand still."""
    await bench.start(concurrency=1)
    bench.sink.answer = FAILS
    await bench.give()
    assert await bench.work() == pytest.approx(5.0, abs=0.002)
    bench.sink.gate = asyncio.Event()
    async with asyncio.TaskGroup() as sends:
        await bench.give()
        await bench.lane.step(sends)
        await bench.until_sent(2)
        clock.advance(6.0)
        pause = await bench.lane.step(sends)
        bench.sink.gate.set()
    assert pause is None or pause > 0


async def test_a_lane_under_load_makes_no_step_for_each_delivery(bench: Bench) -> None:
    await bench.start(concurrency=4)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(100)
        await bench.until_sent(4)
        await spin()
        before = bench.lane.rounds
        bench.sink.gate.set()
        await bench.until_sent(100)
        await bench.until_idle()
        assert bench.lane.rounds - before <= 8


async def test_a_retry_that_came_due_goes_before_later_deliveries_that_wait_in_memory(bench: Bench, clock: FakeClock) -> None:
    await bench.start(concurrency=1)
    bench.sink.answer = lambda delivery: FAILS if len(bench.sink.sent) == 1 else Delivered()
    (first,) = await bench.give()
    await bench.work()
    bench.sink.gate = asyncio.Event()
    (second,) = await bench.give()
    async with asyncio.TaskGroup() as workers:
        await bench.lane.step(workers)
        await bench.until_sent(2)
        clock.advance(6.0)
        third, fourth = await bench.give(2)
        bench.sink.gate.set()
    assert bench.order == ids([first, second]), "the worker leaves it to the lane"
    await bench.work()
    assert bench.order == ids([first, second, first, third, fourth])


async def test_a_delivery_offered_to_a_sleeping_lane_is_sent_at_once(bench: Bench) -> None:
    async with bench.running():
        await spin()
        for number in range(1, 4):
            await bench.give()
            await bench.until_sent(number)


async def test_a_delivery_that_is_not_due_yet_waits_for_its_time(bench: Bench, clock: FakeClock) -> None:
    async with bench.running():
        await spin()
        (owed,) = await bench.accept(due_in=60.0)
        bench.lane.offer(owed, clock.now() + 60.0)
        await spin()
        clock.advance(59.0)
        await spin()
        assert bench.sink.sent == []
        clock.advance(1.1)
        await bench.until_sent(1)


async def test_offers_in_the_middle_of_a_claim_are_neither_lost_nor_repeated(bench: Bench) -> None:
    """A claim can reach a committed delivery before it is offered; the lane must not take it twice."""
    for _ in range(100):
        await bench.start(concurrency=2)
        old = await bench.accept(3)
        before = len(bench.sink.sent)
        async with bench.running():
            fresh = await bench.give(5)
            await bench.until_sent(before + 8)
            await bench.until_idle()
        assert Counter(bench.order[before:]) == Counter(ids(old + fresh))
