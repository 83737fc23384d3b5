"""Deliveries on a clock that jumps: none waits longer than planned, and they do not come in a storm."""

from __future__ import annotations

import pytest

from gateway.core.outcome import Defer, Delivered, Reason
from tests.engine.bench import A_BIT, DAY, FAILS, HOUR, Bench, BusySink
from tests.fakes import FakeClock


@pytest.mark.parametrize("jump", [HOUR, DAY, -HOUR, -DAY])
async def test_after_a_jump_of_the_clock_retries_come_within_the_longest_backoff_and_in_no_storm(
    bench: Bench, clock: FakeClock, jump: float
) -> None:
    await bench.start(failures=10**6, rate=5.0, concurrency=4)
    bench.sink.answer = lambda one: FAILS if one.attempt <= 3 else Delivered()
    await bench.give(12)
    for _ in range(330):  # until all of them wait half an hour for their fourth attempt
        await bench.work()
        clock.advance(1.0)
    assert await bench.rows("DISTINCT state, retries") == [("queued", 3)]
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(jump)
    at, before = clock.passed, len(bench.sink.sent)
    await janitor.step()
    while await bench.queued():
        had = len(bench.sink.sent)
        await bench.work()
        assert len(bench.sink.sent) - had <= 10  # 50 in ten seconds, and one second's worth more, and one for each slot
        assert clock.passed - at <= 7200 * 1.1 + 60
        clock.advance(10.0)
    assert len(bench.sink.sent) - before == 12


@pytest.mark.parametrize("jump", [-HOUR, -DAY])
async def test_an_open_breaker_probes_in_time_even_if_the_clock_went_back(bench: Bench, clock: FakeClock, jump: float) -> None:
    await bench.break_open()
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(jump)
    await janitor.step()
    await bench.give()
    bench.sink.answer = Delivered()
    assert await bench.work() == pytest.approx(30.0, abs=0.1)
    clock.advance(30.1)
    await bench.work()
    assert len(bench.sink.sent) >= 1 and not bench.lane.gates.breaker.is_open


@pytest.mark.parametrize("jump", [HOUR, DAY, -HOUR, -DAY])
async def test_a_hold_is_kept_as_long_as_the_sink_asked_for_whatever_the_clock_does(
    bench: Bench, clock: FakeClock, jump: float
) -> None:
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 600.0)
    await bench.give()
    await bench.work()
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(jump)
    await janitor.step()
    pause = await bench.work()
    assert pause == pytest.approx(600.0, abs=A_BIT)
    assert len(bench.sink.sent) == 1


@pytest.mark.parametrize("jump", [HOUR, DAY, -HOUR, -DAY])
async def test_a_jump_of_the_clock_makes_no_storm_even_without_a_rate(bench: Bench, clock: FakeClock, jump: float) -> None:
    """A jump ahead sends each due delivery once, as many at a time as there are slots. A jump back sends none early."""
    sink = bench.sink = BusySink()
    await bench.start(failures=10**6, concurrency=4)
    sink.answer = lambda one: FAILS if one.attempt <= 3 else Delivered()
    await bench.give(30)
    for _ in range(330):  # until all of them wait half an hour for their fourth attempt
        await bench.work()
        clock.advance(1.0)
    assert await bench.rows("DISTINCT state, retries") == [("queued", 3)]
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(jump)
    await janitor.step()
    at, sink.most = clock.passed, 0
    sink.sent.clear()
    while await bench.queued():
        await bench.work()
        if jump < 0 and clock.passed - at < 1700:
            assert sink.sent == []
        assert clock.passed - at <= 7200 * 1.1 + 60
        clock.advance(10.0)
    assert len(sink.sent) == len(set(bench.order)) == 30
    assert sink.most == 4
