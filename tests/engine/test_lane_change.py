"""A lane whose settings and sink change while it works, and whose sink leaves and comes back."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.breaker import BreakerPolicy
from gateway.core.outcome import Delivered, Outcome
from gateway.core.retry import RetryPolicy
from gateway.delivery.world import LaneSettings
from gateway.sinks.base import Outgoing, Sink
from tests.engine.bench import FAILS, HOUR, Bench, ids, spin
from tests.fakes import FakeClock, FakeSink
from tests.support.waiting import PATIENCE, until

_SETTINGS = LaneSettings(RetryPolicy(), 16, 30.0)
_BREAKER = BreakerPolicy(3, 30.0)


def change(bench: Bench, sink: FakeSink, settings: LaneSettings = _SETTINGS) -> Sink | None:
    """Go on with another sink, as a reload does. Returns the result of `Lane.change`."""
    unused = bench.lane.change(settings, _BREAKER, None, sink)
    bench.sink = sink
    return unused


class Reluctant(FakeSink):
    """A sink whose `aclose` raises."""

    async def aclose(self) -> None:
        await super().aclose()
        raise OSError("no")


async def test_attempts_in_flight_end_at_the_old_sink_which_is_closed_after_the_last_one(bench: Bench) -> None:
    old, new = bench.sink, FakeSink()
    old.gate = asyncio.Event()
    async with bench.running():
        first = await bench.give(2)
        await bench.until_sent(2)
        assert change(bench, new) is None and old.closed == 0
        second = await bench.give()
        await bench.until_sent(1)
        old.gate.set()
        await bench.until_idle()
        await until(lambda: old.closed == 1)
    assert sorted(sent.delivery_id for sent in old.sent) == sorted(ids(first)) and bench.order == ids(second)
    assert await bench.rows("state, attempts") == [("delivered", 1)] * 3


async def test_a_sink_without_an_attempt_can_be_closed_at_once(bench: Bench) -> None:
    old = bench.sink
    await bench.give()
    await bench.work()
    assert change(bench, FakeSink()) is old


async def test_an_old_sink_that_fails_to_close_costs_no_delivery(bench: Bench) -> None:
    old = bench.sink = Reluctant()
    old.gate = asyncio.Event()
    await bench.start()
    async with bench.running():
        await bench.give()
        await bench.until_sent(1)
        change(bench, FakeSink())
        old.gate.set()
        await bench.until_idle()
        await until(lambda: old.closed == 1)
        await bench.give()
        await bench.until_sent(1)
        await bench.until_idle()
    assert await bench.rows("state, attempts") == [("delivered", 1)] * 2


async def test_an_old_sink_that_closes_slowly_turns_no_delivery_into_a_timeout(bench: Bench) -> None:
    class Slow(FakeSink):
        async def aclose(self) -> None:
            await super().aclose()
            await asyncio.sleep(0.2)

    old = bench.sink = Slow()
    old.gate = asyncio.Event()
    await bench.start(timeout=0.1)
    async with bench.running():
        await bench.give()
        await bench.until_sent(1)
        change(bench, FakeSink())
        old.gate.set()
        await bench.until_idle()
    assert await bench.rows("state, attempts") == [("delivered", 1)] and bench.sink.sent == []


async def test_a_removed_sink_is_sent_nothing_and_attempts_in_flight_are_not_repeated_when_it_is_back(
    bench: Bench,
) -> None:
    old, new = bench.sink, FakeSink()
    old.gate = asyncio.Event()
    async with bench.running():
        (under_way,) = await bench.give()
        await bench.until_sent(1)
        assert bench.lane.leave() is None
        (waiting,) = await bench.give()
        await spin()
        change(bench, new)
        await bench.until_sent(1)
        assert bench.order == [waiting.delivery_id]
        old.gate.set()
        await bench.until_idle()
        await until(lambda: old.closed == 1)
    assert [sent.delivery_id for sent in old.sent] == [under_way.delivery_id] and bench.order == [waiting.delivery_id]
    assert await bench.rows("state, attempts") == [("delivered", 1)] * 2


async def test_a_lane_whose_sink_was_removed_rests_and_does_not_count_as_free(bench: Bench) -> None:
    """The janitor looks for overdue deliveries only in free lanes."""
    bench.lane.leave()
    await bench.accept()
    assert await bench.work() is None and bench.store.claimed == []
    assert not bench.lane.idle
    async with bench.running() as task:
        await spin()
        bench.lane.stop()
        await asyncio.wait_for(task, PATIENCE)


async def test_an_attempt_that_fails_after_its_sink_was_removed_is_retried_on_time_at_the_sink_that_is_back(
    bench: Bench, clock: FakeClock
) -> None:
    old, new = bench.sink, FakeSink()
    old.answer, old.gate = FAILS, asyncio.Event()
    policy = RetryPolicy((0.0, 60.0))
    await bench.start(policy)
    await bench.give()
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        bench.lane.leave()
        old.gate.set()
    change(bench, new, LaneSettings(policy, 16, 30.0))
    await bench.work()
    clock.advance(59)
    await bench.work()
    assert new.sent == [], "the timer of the first attempt runs on"
    clock.advance(2)
    await bench.work()
    assert [sent.attempt for sent in new.sent] == [2]


async def test_a_delivery_about_to_be_sent_when_its_sink_is_removed_stays_as_it_was(bench: Bench) -> None:
    await bench.give()
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        bench.lane.leave()  # before its task has begun
    assert bench.sink.sent == [] and await bench.rows("state, attempts, retries") == [("queued", 0, 0)]
    change(bench, FakeSink())
    await bench.work()
    assert await bench.rows("state, attempts") == [("delivered", 1)]


async def test_no_delivery_is_given_up_while_its_sink_is_missing(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy(give_up_after=HOUR))
    bench.sink.answer = FAILS
    await bench.give()
    await bench.work()
    bench.lane.leave()
    clock.advance(2 * HOUR)
    assert await bench.work() is None
    assert await bench.queued() == 1


async def test_a_delivery_found_expired_as_its_sink_is_removed_is_not_given_up(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy(give_up_after=HOUR))
    await bench.accept()
    clock.advance(2 * HOUR)
    async with asyncio.TaskGroup() as sends:
        step = sends.create_task(bench.lane.step(sends))
        await asyncio.sleep(0)  # it asks the store now
        bench.lane.leave()
        await step
    assert await bench.queued() == 1


async def test_an_open_breaker_and_a_pause_last_while_their_sink_is_missing(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    assert await bench.lane.pause("ann")
    before = bench.lane.gates.state
    bench.lane.leave()
    assert await bench.work() is None
    change(bench, FakeSink())
    assert bench.lane.gates.state == before
    assert await bench.lane.resume("ann")
    clock.advance(31)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open and len(bench.sink.sent) == 3


async def test_after_a_reload_with_fewer_slots_attempts_end_until_no_more_run_than_there_are_slots(bench: Bench) -> None:
    running = 0
    at_once: list[int] = []

    class Counting(FakeSink):
        async def send(self, delivery: Outgoing) -> Outcome:
            nonlocal running
            running += 1
            at_once.append(running)
            try:
                return await super().send(delivery)
            finally:
                running -= 1

    sink = bench.sink = Counting()
    gate = sink.gate = asyncio.Event()
    await bench.start(concurrency=8)
    async with bench.running():
        await bench.give(40)
        await bench.until_sent(8)
        change(bench, sink, LaneSettings(RetryPolicy(), 2, 30.0))
        gate.set()
        await bench.until_sent(40)
        await bench.until_idle()
    assert max(at_once[:8]) == 8 and max(at_once[8:]) <= 2
    assert await bench.rows("DISTINCT state, attempts") == [("delivered", 1)]


async def test_new_settings_count_from_the_next_attempt_on(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = FAILS
    await bench.start(RetryPolicy((0.0, HOUR)))
    await bench.give()
    await bench.work()
    sink = FakeSink()
    sink.answer = FAILS
    change(bench, sink, LaneSettings(RetryPolicy((0.0, 5.0, 5.0)), 16, 30.0))
    ((due,),) = await bench.rows("due_ms")
    assert due / 1000 - clock.now() == pytest.approx(HOUR, abs=0.01), "a timer that runs is left alone"
    clock.advance(HOUR + 1)
    await bench.work()
    ((due,),) = await bench.rows("due_ms")
    assert due / 1000 - clock.now() == pytest.approx(5.0, abs=0.01)
    sink.answer = Delivered()
    clock.advance(6)
    await bench.work()
    assert await bench.rows("state, attempts") == [("delivered", 3)]
