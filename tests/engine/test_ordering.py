"""Events of one service request are sent in the order in which they happened (`ordering = "sr"`)."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.outcome import Defer, Delivered, Reason
from tests.engine.bench import FAILS, Bench, ids, spin
from tests.fakes import START, FakeClock
from tests.support.waiting import PATIENCE


async def test_with_ordering_the_second_event_of_a_service_request_follows_the_first_at_once(bench: Bench) -> None:
    await bench.start(by_sr=True)
    later, first = await bench.accept_of("a", START + 2), await bench.accept_of("a", START + 1)
    other = await bench.accept_of("b", START)
    await bench.work()
    assert sorted(bench.order) == sorted(ids([later, first, other]))
    assert bench.order.index(first.delivery_id) < bench.order.index(later.delivery_id)


async def test_with_ordering_a_running_lane_delivers_each_service_request_in_its_order(bench: Bench) -> None:
    await bench.start(by_sr=True, concurrency=4)
    async with bench.running():
        owed = []
        for number in range(24):
            one = await bench.accept_of(f"sr{number % 3}", START)
            bench.offer(one)
            owed.append(one)
        await bench.until_sent(24)
        await bench.until_idle()
    for sr in range(3):
        mine = ids(owed[sr::3])
        assert [one for one in bench.order if one in mine] == mine
    assert len(bench.order) == 24


async def test_with_ordering_a_later_event_that_waits_for_an_earlier_one_raises_no_alarm(bench: Bench, clock: FakeClock) -> None:
    await bench.start(by_sr=True)
    first = await bench.accept_of("a", START + 1)
    await bench.accept_of("a", START + 2)
    bench.sink.answer = lambda one: FAILS if one.delivery_id == first.delivery_id else Delivered()
    janitor = bench.janitor()
    for _ in range(40):  # its third attempt is due after five minutes
        await bench.work()
        clock.advance(1.0)
        await janitor.step()
    assert len(bench.sink.sent) == 2
    assert "invariant.overdue" not in [call.kwargs["event"] for call in bench.log.calls]


async def test_an_earlier_event_that_comes_while_a_later_one_waits_for_its_rate_goes_first(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.start(by_sr=True, rate=1.0)
    other, later = await bench.accept_of("b", START), await bench.accept_of("a", START + 2)
    assert await bench.work() == pytest.approx(1.0)
    first = bench.offer(await bench.accept_of("a", START + 1))
    for _ in range(2):
        clock.advance(1.0)
        await bench.work()
    assert bench.order == ids([other, first, later])


async def test_an_earlier_event_that_comes_while_a_later_one_is_held_goes_first(bench: Bench, clock: FakeClock) -> None:
    """The sink asks for time at the very moment when the later one was read from the store."""
    await bench.start(by_sr=True, concurrency=2)
    bench.sink.gate, bench.sink.answer = asyncio.Event(), Defer(Reason.RATE_LIMITED, 60.0)
    await bench.accept_of("b", START)
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        later = bench.offer(await bench.accept_of("a", START + 2))
        bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        bench.sink.gate.set()
        await bench.until_idle()
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    first = bench.offer(await bench.accept_of("a", START + 1))
    bench.sink.answer = Delivered(200)
    clock.advance(60.1)
    await bench.work()
    assert [one for one in bench.order if one in ids([first, later])] == ids([first, later])


async def test_with_ordering_both_the_rate_and_the_order_of_each_service_request_are_kept(bench: Bench, clock: FakeClock) -> None:
    await bench.start(by_sr=True, rate=2.0, concurrency=4)
    owed = [await bench.accept_of(f"sr{number % 3}", START + 100 - number) for number in range(12)]
    while await bench.queued():
        await bench.work()
        assert len(bench.sink.sent) <= 2 + 2.0 * clock.passed + 1e-6
        assert clock.passed < 6
        clock.advance(0.5)
    for sr in range(3):
        mine = ids(owed[sr::3])
        assert [one for one in bench.order if one in mine] == mine[::-1]
    assert len(bench.order) == 12


async def test_with_ordering_no_more_is_read_than_can_be_sent_at_once(bench: Bench) -> None:
    """An earlier event could not overtake a delivery that waits in memory."""
    await bench.start(by_sr=True, concurrency=3)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        bench.offer(await bench.accept_of("first", START))
        await bench.until_sent(1)
        for number in range(10):
            bench.offer(await bench.accept_of(f"sr{number}", START))
        await bench.until_sent(3)
        later = bench.offer(await bench.accept_of("a", START + 2))
        await spin()
        first = bench.offer(await bench.accept_of("a", START + 1))
        bench.sink.gate.set()
        await bench.until_sent(13)
    assert max(bench.store.claimed) <= 3 and 2 in bench.store.claimed
    assert [one for one in bench.order if one in ids([first, later])] == ids([first, later])
