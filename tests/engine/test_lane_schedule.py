"""A lane retries on its schedule: hours of retries and deferrals take milliseconds on a clock that tests move."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject
from gateway.core.retry import RetryPolicy
from tests.engine.bench import A_BIT, FAILS, HOUR, Bench, ids
from tests.fakes import START, FakeClock

pytestmark = pytest.mark.usefixtures("no_breaker")


# --- retries


@pytest.mark.parametrize(
    ("jitter", "waits"), [(0.0, [5, 300, 1800, 7200]), (1.0, [5.5, 330, 1980, 7920]), (-1.0, [4.5, 270, 1620, 6480])]
)
async def test_legitmarks_schedule_takes_over_two_hours_and_then_the_delivery_is_dead(
    bench: Bench, clock: FakeClock, jitter: float, waits: list[float]
) -> None:
    clock.fixed_jitter = jitter
    bench.sink.answer = FAILS
    await bench.give()
    pauses: list[float] = []
    while (pause := await bench.work()) is not None and len(pauses) < 10:
        pauses.append(round(pause, 3))
        clock.advance(pause - 0.01)
        sent = len(bench.sink.sent)
        assert await bench.work() == pytest.approx(0.01, abs=0.002) and len(bench.sink.sent) == sent  # not a moment earlier
        clock.advance(0.01)
    assert pauses == pytest.approx(waits, abs=0.002)
    assert [delivery.attempt for delivery in bench.sink.sent] == [1, 2, 3, 4, 5]
    assert len(set(bench.order)) == 1
    assert await bench.rows() == [("dead", 5, 5, "attempts_exhausted")]
    lines = await bench.lines()
    assert [line["event"] for line in lines] == ["delivery.retrying"] * 4 + ["delivery.dead"]
    assert [line["attempt"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1]["reason"] == "attempts_exhausted" and "next_attempt_at" not in lines[-1]


async def test_the_count_of_retries_survives_a_restart(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = FAILS
    await bench.give()
    for attempt in range(1, 6):
        assert len(bench.sink.sent) == attempt - 1
        pause = await bench.work()
        clock.advance(pause or 0.0)
        await bench.start()
    assert await bench.rows() == [("dead", 5, 5, "attempts_exhausted")]


async def test_a_failed_attempt_does_not_prevent_a_later_delivery(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = lambda delivery: FAILS if delivery.attempt < 5 else Delivered(200)
    await bench.give(3)
    await bench.work_to_the_end()
    assert await bench.rows("state, attempts, retries") == [("delivered", 5, 4)] * 3


async def test_a_reject_is_dead_at_once(bench: Bench) -> None:
    bench.sink.answer = Reject(Reason.HTTP_STATUS, "HTTP 410 Gone", 410)
    await bench.give()
    assert await bench.work() is None
    assert await bench.rows() == [("dead", 1, 0, "rejected")]
    (line,) = await bench.lines()
    assert (line["event"], line["reason"], line["detail"], line["status"]) == ("delivery.dead", "rejected", "HTTP 410 Gone", 410)


async def test_a_delivery_expires_after_give_up_after_without_another_request(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy((0.0, 50.0, 1000.0), give_up_after=100.0))
    bench.sink.answer = FAILS
    await bench.accept()
    assert await bench.work() == pytest.approx(50.0, abs=0.002)
    clock.advance(50.0)
    assert await bench.work() == pytest.approx(50.0, abs=0.002)  # not 1000: it is given up then, and no later
    clock.advance(50.0)
    assert await bench.work() is None
    assert len(bench.sink.sent) == 2
    assert await bench.rows("state, attempts, reason") == [("dead", 2, "expired")]
    assert [(line["event"], line["reason"]) for line in await bench.lines()][-1] == ("delivery.dead", "expired")


async def test_a_delivery_that_expired_while_the_gateway_was_down_is_not_sent(bench: Bench, clock: FakeClock) -> None:
    await bench.accept(3)
    clock.advance(7 * 24 * HOUR)
    assert await bench.work() is None
    assert bench.sink.sent == [] and await bench.rows() == [("dead", 0, 0, "expired")] * 3


async def test_a_wall_clock_that_goes_back_a_day_delays_no_delivery_for_a_day(bench: Bench, clock: FakeClock) -> None:
    """Due times are wall time, and never trusted beyond the longest back-off (docs/design.md, "Time")."""
    bench.sink.answer = lambda delivery: FAILS if delivery.attempt == 1 else Delivered(200)
    await bench.give()
    assert await bench.work() == pytest.approx(5.0, abs=0.002)
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(-24 * HOUR)
    await janitor.step()
    for _ in range(12):  # the longest back-off of the schedule is two hours, 10 % of jitter beside
        clock.advance(660.0)
        await bench.work()
    clock.advance(1.0)
    await bench.work()
    assert await bench.rows("state, attempts") == [("delivered", 2)]


# --- defer


@pytest.mark.parametrize(("asked", "held"), [(120.0, 120.0), (0.0, 1.0), (1e9, 3600.0)])
async def test_a_defer_holds_the_whole_lane_for_at_most_an_hour(
    bench: Bench, clock: FakeClock, asked: float, held: float
) -> None:
    await bench.start(concurrency=1)
    bench.sink.answer = lambda _: Defer(Reason.RATE_LIMITED, asked, "HTTP 429", 429) if clock.now() == START else Delivered(200)
    first = await bench.give(5)
    assert await bench.work() == pytest.approx(held, abs=0.002)
    assert bench.order == ids(first)[:1]
    later = await bench.give(3)
    clock.advance(held - 0.01)
    assert await bench.work() == pytest.approx(0.01, abs=0.002)
    assert bench.order == ids(first)[:1]
    clock.advance(0.02)
    await bench.work()
    assert sorted(bench.order[1:]) == sorted(ids(first + later)) and len(bench.order) == 9
    assert await bench.rows("state, retries") == [("delivered", 0)] * 8


async def test_defer_costs_no_attempt_of_the_schedule_however_often_it_comes(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy((0.0, 1.0)))
    answers: list[Outcome] = [Defer(Reason.UNAVAILABLE, 60.0, status=503) for _ in range(50)]
    answers += [FAILS, Defer(Reason.RATE_LIMITED, 60.0), Delivered()]
    bench.sink.answer = lambda _: answers.pop(0)
    await bench.give()
    await bench.work_to_the_end()
    assert await bench.rows() == [("delivered", 53, 1, None)]
    assert [delivery.attempt for delivery in bench.sink.sent] == list(range(1, 54))
    lines = await bench.lines()
    assert Counter(line["event"] for line in lines) == {"delivery.deferred": 51, "delivery.retrying": 1, "delivery.delivered": 1}
    assert (lines[0]["reason"], lines[0]["status"]) == ("unavailable", 503)


async def test_give_up_after_runs_through_a_defer(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy((0.0,), give_up_after=2 * HOUR))
    bench.sink.answer = Defer(Reason.RATE_LIMITED, HOUR)
    await bench.give()
    await bench.work_to_the_end()
    assert clock.passed == pytest.approx(2 * HOUR, abs=2)
    assert await bench.rows("state, reason") == [("dead", "expired")]


# --- the end of its time


async def test_a_delivery_that_comes_due_after_give_up_after_is_not_sent(bench: Bench, clock: FakeClock) -> None:
    """The delivery expires between two checks by the lane; the attempt itself checks, too."""
    await bench.start(RetryPolicy(give_up_after=100.0))
    await bench.accept(due_in=99.5)
    clock.advance(91.0)
    assert await bench.work() == pytest.approx(8.5, abs=A_BIT)
    clock.advance(9.2)
    await bench.work()
    assert bench.sink.sent == []
    assert await bench.rows() == [("dead", 0, 0, "expired")]


async def test_an_attempt_in_flight_at_the_end_of_give_up_after_still_counts(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy(give_up_after=100.0))
    bench.sink.gate = asyncio.Event()
    await bench.give()
    async with asyncio.TaskGroup() as sends:
        await bench.lane.step(sends)
        await bench.until_sent(1)
        clock.advance(200.0)
        await bench.lane.step(sends)
        assert await bench.rows("state") == [("queued",)]
        bench.sink.gate.set()
    assert await bench.rows("state, attempts") == [("delivered", 1)]


async def test_a_delivery_about_to_be_sent_when_the_wall_clock_jumps_ahead_is_not_given_up(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.give()
    async with asyncio.TaskGroup() as workers:
        await bench.lane.step(workers)
        clock.jump(30 * 24 * HOUR)  # before its worker has begun
        bench.lane.clock_jumped()
    assert await bench.rows("state, attempts") == [("delivered", 1)]


async def test_many_expired_deliveries_are_given_up_without_a_pause(bench: Bench, clock: FakeClock) -> None:
    """They are more than one check finds; the next check follows at once."""
    await bench.start(RetryPolicy(give_up_after=100.0))
    await bench.accept(250)
    await bench.lane.pause("ann")
    clock.advance(101.0)
    for _ in range(3):
        assert await bench.work() is None
    assert await bench.rows("DISTINCT state, reason") == [("dead", "expired")]
