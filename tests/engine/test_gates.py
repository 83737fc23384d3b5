"""The gates of a lane on a real store: pause, rate, `Retry-After`, and gates that close while the lane reads."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import StoreError
from gateway.core.outcome import Defer, Delivered, Reason
from gateway.core.retry import RetryPolicy
from tests.engine.bench import A_BIT, DAY, FAILS, HOUR, Bench, ids, spin
from tests.fakes import START, FakeClock
from tests.support.waiting import PATIENCE, until

# --- a gate that closes while the lane reads


async def test_a_retry_after_that_comes_while_the_lane_reads_the_store_holds_the_deliveries_read(bench: Bench) -> None:
    await bench.start(concurrency=2)
    bench.sink.gate, bench.sink.answer = asyncio.Event(), Defer(Reason.RATE_LIMITED, 600.0)
    await bench.accept(1)
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        await bench.accept(3)
        bench.lane.refresh()
        bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        bench.sink.gate.set()
        await bench.until_idle()
        assert bench.lane.gates.closed_for() > 500
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    assert len(bench.sink.sent) == 1


async def test_a_breaker_that_opens_while_the_lane_reads_the_store_holds_the_deliveries_read(bench: Bench) -> None:
    await bench.start(concurrency=2, failures=1)
    bench.sink.gate, bench.sink.answer = asyncio.Event(), FAILS
    await bench.accept(1)
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        await bench.accept(3)
        bench.lane.refresh()
        bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
        bench.store.settles_refused = 1  # the outcome is known, and not committed yet
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        bench.sink.gate.set()
        await until(lambda: bench.lane.gates.breaker.is_open)
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
        sent = len(bench.sink.sent)
        bench.clock.advance(1.0)
    assert sent == 1


async def test_no_probe_is_sent_if_the_lane_was_paused_while_it_read_the_store(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    clock.advance(31.0)
    bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as sends:
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        await bench.lane.pause("ann")
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    assert bench.sink.sent == []


# --- pause


async def test_a_paused_lane_holds_all_deliveries_and_loses_none(bench: Bench, clock: FakeClock) -> None:
    assert await bench.lane.pause("ann") is True
    assert await bench.lane.pause("bob") is False
    owed = await bench.give(5)
    for _ in range(5):
        assert await bench.work() is None
        clock.advance(HOUR)
    assert bench.sink.sent == []
    assert await bench.lane.resume("bob") is True
    assert await bench.lane.resume("bob") is False
    await bench.work()
    assert bench.order == ids(owed)
    lines = [(line["event"], line["sink"], line["actor"]) for line in await bench.lines() if line["event"].startswith("sink.")]
    assert lines == [("sink.paused", "erp", "ann"), ("sink.resumed", "erp", "bob")]


async def test_a_pause_and_its_end_survive_a_restart(bench: Bench, clock: FakeClock) -> None:
    await bench.lane.pause("ann")
    owed = await bench.accept(2)
    clock.advance(60.0)
    await bench.start()
    assert bench.lane.gates.paused
    assert (bench.lane.gates.state.paused_at, bench.lane.gates.state.paused_by) == (START, "ann")
    assert await bench.work() is None and bench.sink.sent == []
    await bench.lane.resume("ann")
    await bench.start()
    assert not bench.lane.gates.paused
    await bench.work()
    assert bench.order == ids(owed)


async def test_an_attempt_in_flight_is_completed_when_its_lane_is_paused(bench: Bench) -> None:
    await bench.start(concurrency=1)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(3)
        await bench.until_sent(1)
        await bench.lane.pause("ann")
        bench.sink.gate.set()
        await bench.until_idle()
        await spin()
        assert len(bench.sink.sent) == 1
        await bench.lane.resume("ann")
        await bench.until_sent(3)
    assert len(set(bench.order)) == 3


async def test_a_delivery_that_expires_during_a_pause_is_given_up(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy(give_up_after=100.0))
    await bench.lane.pause("ann")
    async with bench.running():
        await bench.give(2)

        def given_up() -> bool:
            clock.advance(5.0)  # time goes on while the store is read, however long that takes
            return bench.audit.path.exists() and len(bench.audit.path.read_bytes().splitlines()) == 3

        await until(given_up)
    assert await bench.rows("state, attempts, reason") == [("dead", 0, "expired")] * 2
    assert bench.sink.sent == []


async def test_a_pause_that_could_not_be_stored_does_not_count_as_a_pause(bench: Bench) -> None:
    """A person who is answered 503 asks again; the answer `already` has to mean that the pause survives a restart."""
    bench.store.keeps_refused = 1
    with pytest.raises(StoreError):
        await bench.lane.pause("ann")
    await bench.lane.pause("ann")
    await bench.start()
    assert bench.lane.gates.paused


async def test_a_retry_after_holds_the_whole_lane_after_a_restart_too(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 600.0, "HTTP 429", 429)
    await bench.give()
    await bench.work()
    await bench.accept(5)
    bench.sink.answer = Delivered(200)
    clock.advance(100.0)
    for _ in range(2):
        await bench.start()
        assert await bench.work() == pytest.approx(500.0, abs=A_BIT)
        assert len(bench.sink.sent) == 1
    clock.advance(500.1)
    await bench.work()
    assert await bench.rows("DISTINCT state") == [("delivered",)] and len(bench.sink.sent) == 7


async def test_a_hold_ends_in_time_if_the_clock_went_back_a_day_before_a_restart(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 600.0)
    await bench.give()
    await bench.work()
    clock.jump(-DAY)
    await bench.start()
    assert bench.lane.gates.closed_for() == pytest.approx(HOUR)


async def test_a_pause_that_could_not_be_stored_does_not_close_a_breaker_that_opened_meanwhile(bench: Bench) -> None:
    await bench.start(failures=1)
    bench.sink.gate, bench.sink.answer = asyncio.Event(), FAILS
    await bench.give()
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        bench.store.keeps_refused, bench.store.keeping = 1, asyncio.Event()
        pause = asyncio.create_task(bench.lane.pause("ann"))
        await spin()
        assert bench.lane.gates.paused
        bench.sink.gate.set()
        await until(lambda: bench.lane.gates.breaker.is_open)
        bench.store.keeping.set()
        with pytest.raises(StoreError):
            await pause
    assert bench.lane.gates.breaker.is_open and not bench.lane.gates.paused
    await bench.start()
    assert bench.lane.gates.breaker.is_open


async def test_a_pause_does_not_reset_an_open_breaker(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    await bench.lane.pause("ann")
    clock.advance(HOUR)
    assert await bench.work() is None
    await bench.start()
    await bench.lane.resume("ann")
    assert bench.lane.gates.breaker.is_open
    await bench.work()
    assert len(bench.sink.sent) == 1


# --- rate


@pytest.mark.parametrize(("rate", "at_once"), [(0.5, 1), (2.0, 2), (10.0, 10)])
async def test_the_rate_limits_how_often_attempts_start(bench: Bench, clock: FakeClock, rate: float, at_once: int) -> None:
    await bench.start(rate=rate)
    owed = await bench.give(30)
    await bench.work()
    assert len(bench.sink.sent) == at_once
    for _ in range(200):
        if len(bench.sink.sent) == 30:
            break
        clock.advance(0.5)
        await bench.work()
        assert len(bench.sink.sent) <= at_once + rate * clock.passed + 1e-6
    assert bench.order == ids(owed)
    assert clock.passed == pytest.approx((30 - at_once) / rate, abs=0.6)


async def test_a_rate_makes_no_false_alarm_of_a_delivery_that_is_overdue(bench: Bench, clock: FakeClock) -> None:
    """A lane that waits for its rate is not free, so the janitor raises no alarm."""
    await bench.start(rate=0.1)
    await bench.accept(5)
    janitor = bench.janitor()
    for _ in range(30):
        await bench.work()
        clock.advance(1.0)
        await janitor.step()
    assert "invariant.overdue" not in [call.kwargs["event"] for call in bench.log.calls]
