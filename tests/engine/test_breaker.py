"""A lane and its breaker on a real store, with a clock that tests move."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.retry import RetryPolicy
from tests.engine.bench import A_BIT, DAY, FAILS, Bench, BusySink, ids, spin
from tests.fakes import FakeClock


async def test_while_the_breaker_is_open_single_probes_go_at_growing_intervals(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    await bench.give(50)
    probes = []
    for _ in range(3000):
        before = len(bench.sink.sent)
        await bench.work()
        assert len(bench.sink.sent) <= before + 1
        if len(bench.sink.sent) > before:
            probes.append(clock.passed)
        clock.advance(1.0)
    gaps = [after - before for before, after in itertools.pairwise(probes)]
    assert probes[0] == pytest.approx(30, abs=1.1)
    assert gaps[:6] == pytest.approx([60, 120, 240, 480, 600, 600], abs=1.1)


async def test_a_sink_that_is_down_all_night_costs_the_waiting_deliveries_nothing(bench: Bench, clock: FakeClock) -> None:
    failed = await bench.break_open()
    waiting = await bench.give(20)
    for _ in range(12 * 60):
        await bench.work()
        clock.advance(60.0)
    rows = await bench.rows("state, retries")
    assert rows == [("queued", 1)] * len(failed) + [("queued", 0)] * len(waiting)
    bench.sink.answer = Delivered(200)
    await bench.to_the_end()
    assert await bench.rows("DISTINCT state") == [("delivered",)]


async def test_a_probe_that_fails_is_counted_as_an_attempt_and_not_as_budget(bench: Bench, clock: FakeClock) -> None:
    await bench.start(failures=1)
    bench.sink.answer = FAILS
    await bench.give()
    await bench.work()
    for _ in range(6):
        clock.advance(601.0)
        await bench.work()
    assert await bench.rows("state, attempts, retries") == [("queued", 7, 1)]
    assert [delivery.attempt for delivery in bench.sink.sent] == [1, 2, 3, 4, 5, 6, 7]


async def test_each_probe_takes_another_delivery_so_a_poisoned_one_cannot_keep_the_breaker_open(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.break_open()
    (poison,) = await bench.give()
    (good,) = await bench.give()
    bench.sink.answer = lambda one: Delivered() if one.delivery_id == good.delivery_id else FAILS
    for _ in range(30):
        clock.advance(600.0)
        await bench.work()
        if good.delivery_id in bench.order:
            break
    assert poison.delivery_id in bench.order and await bench.events("sink.closed")
    order = bench.order[: bench.order.index(good.delivery_id) + 1]
    assert all(one != after for one, after in itertools.pairwise(order))


async def test_later_deliveries_are_probed_before_a_failed_one_is_probed_again(bench: Bench, clock: FakeClock) -> None:
    await bench.start(failures=1)
    bench.sink.answer = FAILS
    (poison,) = await bench.give()
    await bench.work()
    clock.advance(30.1)
    await bench.work()
    (good,) = await bench.give()
    bench.sink.answer = lambda one: Delivered() if one.delivery_id == good.delivery_id else FAILS
    clock.advance(60.1)
    await bench.work()
    assert bench.order[:3] == ids([poison, poison, good])
    assert (await bench.events("sink.opened", "sink.closed"))[:2] == ["sink.opened", "sink.closed"]


async def test_a_successful_probe_closes_the_breaker_and_the_rest_goes_oldest_first(bench: Bench, clock: FakeClock) -> None:
    await bench.start(concurrency=1)
    await bench.break_open()
    waiting = []
    for _ in range(5):
        waiting += await bench.give()
        clock.advance(0.1)
    bench.sink.answer = Delivered(200)
    clock.advance(30.0)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open
    assert [one for one in bench.order if one in ids(waiting)] == ids(waiting)
    assert len(bench.order) == 8 and len(set(bench.order)) == 8
    assert await bench.events("sink.opened", "sink.closed") == ["sink.opened", "sink.closed"]


async def test_an_opening_breaker_drops_deliveries_read_ahead_and_none_is_sent_twice_or_lost(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.start(concurrency=3)
    bench.sink.answer = FAILS
    owed = await bench.give(40)
    await bench.work()
    assert len(bench.sink.sent) == 3
    bench.sink.answer = Delivered(200)
    await bench.to_the_end()
    counts = Counter(bench.order)
    assert set(counts) == set(ids(owed)) and sum(counts.values()) == 43 and max(counts.values()) == 2
    assert await bench.rows("DISTINCT state") == [("delivered",)]


async def test_a_change_of_the_breaker_is_one_audit_line_and_one_log_line(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = FAILS
    await bench.give(16)
    await bench.work()
    (line,) = [line for line in await bench.lines() if line["event"] == "sink.opened"]
    assert (line["sink"], line["reason"], line["detail"]) == ("erp", "http_status", "HTTP 500")
    assert [call.kwargs["event"] for call in bench.log.calls].count("sink.opened") == 1


async def test_the_breaker_stays_open_through_a_restart_and_its_probe_comes_at_its_time(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    clock.advance(10.0)
    await bench.start()
    assert bench.lane.gates.breaker.is_open
    assert await bench.work() == pytest.approx(20.0, abs=A_BIT)
    clock.advance(20.01)
    await bench.work()
    assert len(bench.sink.sent) == 1
    await bench.start()
    assert await bench.work() == pytest.approx(60.0, abs=A_BIT)


async def test_the_probe_comes_in_time_if_the_clock_went_back_a_day_before_a_restart(bench: Bench, clock: FakeClock) -> None:
    await bench.break_open()
    clock.jump(-DAY)
    await bench.start()
    assert await bench.work() == pytest.approx(30.0, abs=A_BIT)


@pytest.mark.parametrize(
    ("outcome", "counted"), [(Reject(Reason.HTTP_STATUS, "HTTP 410", 410), 3), (Delivered(200), 1)], ids=["reject", "delivered"]
)
async def test_a_reject_does_not_count_for_the_breaker_and_a_success_resets_its_count(
    bench: Bench, outcome: Outcome, counted: int
) -> None:
    await bench.start(concurrency=1, failures=4)
    answers: list[Outcome] = [FAILS, FAILS, outcome, FAILS]
    bench.sink.answer = lambda _: answers.pop(0)
    await bench.give(4)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open and bench.lane.gates.breaker.failures == counted


async def test_rejects_alone_never_open_the_breaker(bench: Bench) -> None:
    await bench.start(failures=1)
    bench.sink.answer = Reject(Reason.REJECTED, "too long")
    await bench.give(20)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open
    assert await bench.rows("DISTINCT state") == [("dead",)]


async def test_a_rejected_probe_does_not_close_the_breaker_and_the_next_probe_takes_another_delivery(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.break_open()
    await bench.give(20)
    bench.sink.answer = Reject(Reason.HTTP_STATUS, "HTTP 400", 400)
    for number in range(1, 4):
        clock.advance(30.01)
        await bench.work()
        assert bench.lane.gates.breaker.is_open and len(bench.sink.sent) == number
    bench.sink.answer = Delivered()
    clock.advance(30.01)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open


@pytest.mark.parametrize("schedule", [(0.0,), (0.0, 5.0, 300.0)])
async def test_trouble_of_the_sink_opens_the_breaker_at_once_kills_nothing_and_outlives_a_restart(
    schedule: tuple[float, ...], bench: Bench, clock: FakeClock
) -> None:
    policy = RetryPolicy(schedule=schedule)
    await bench.start(policy, concurrency=4, failures=1000)
    bench.sink.gate, bench.sink.answer = asyncio.Event(), Retry(Reason.REJECTED, "token_revoked: make a new one", sink_wide=True)
    owed = await bench.give(40)
    async with bench.running():
        await bench.until_sent(4)
        bench.sink.gate.set()
        await bench.until_idle()
    assert bench.lane.gates.breaker.is_open and len(bench.sink.sent) == 4, "what was in flight, and nothing after it"
    (line,) = [line for line in await bench.lines() if line["event"] == "sink.opened"]
    assert line["detail"] == "token_revoked: make a new one"
    for _ in range(100):
        await bench.start(policy, failures=1000)
        clock.advance(600.1)
        await bench.work()
    rows = await bench.rows("state, retries")
    assert {state for state, _ in rows} == {"queued"} and max(retries for _, retries in rows) <= 1
    bench.sink.answer = Delivered(200)
    await bench.to_the_end()
    assert await bench.rows("DISTINCT state") == [("delivered",)] and set(ids(owed)) == set(bench.order)


async def test_a_defer_neither_opens_nor_closes_the_breaker(bench: Bench, clock: FakeClock) -> None:
    await bench.start(failures=1)
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 1.0)
    await bench.give(3)
    for _ in range(10):
        await bench.work()
        clock.advance(1.1)
    assert bench.lane.gates.breaker.failures == 0
    bench.sink.answer = FAILS
    await bench.work()
    assert bench.lane.gates.breaker.is_open
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 5.0)
    clock.advance(30.1)
    await bench.work()
    assert bench.lane.gates.breaker.is_open
    sent = len(bench.sink.sent)
    clock.advance(4.0)
    await bench.work()
    assert len(bench.sink.sent) == sent
    bench.sink.answer = Delivered()
    clock.advance(1.1)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open


async def test_a_delivery_that_expires_while_the_breaker_is_open_is_given_up_without_a_request(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.start(RetryPolicy(give_up_after=100.0), probe=3600.0)
    await bench.break_open()
    await bench.give(2)
    clock.advance(101.0)
    await bench.work()
    assert await bench.rows("state, reason") == [("dead", "expired")] * 5
    assert bench.sink.sent == []


async def test_the_backlog_after_an_outage_goes_oldest_first_within_rate_and_concurrency(bench: Bench, clock: FakeClock) -> None:
    sink = bench.sink = BusySink()
    await bench.start(rate=5.0, concurrency=3)
    await bench.break_open()
    waiting = []
    for _ in range(40):
        waiting += await bench.give()
        clock.advance(0.1)
    clock.advance(30.0)
    sink.answer, sink.most, began = Delivered(200), 0, clock.passed
    while await bench.queued():
        await bench.work()
        assert len(sink.sent) <= 5 + 5.0 * (clock.passed - began) + 1e-6
        assert clock.passed - began < 9
        clock.advance(0.2)
    assert [one for one in bench.order if one in ids(waiting)] == ids(waiting)
    assert len(bench.order) == 43 and sink.most == 3


async def test_probes_keep_the_rate(bench: Bench, clock: FakeClock) -> None:
    await bench.start(failures=1, probe=30.0, rate=0.01)
    bench.sink.answer = FAILS
    await bench.give(2)
    await bench.work()
    clock.advance(31.0)
    assert await bench.work() == pytest.approx(69.0)
    assert len(bench.sink.sent) == 1
    clock.advance(69.1)
    await bench.work()
    assert len(bench.sink.sent) == 2


async def test_a_probe_whose_delivery_is_discarded_while_it_is_read_is_not_sent(bench: Bench, clock: FakeClock) -> None:
    owed = await bench.break_open()
    clock.advance(30.1)
    bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
    async with bench.running():
        await bench.store.claiming.wait()
        await bench.discard(*owed)
        bench.lane.refresh()
        bench.store.go_on.set()
        await spin()
    assert bench.order == []


async def test_a_person_makes_the_next_probe_go_at_once_and_the_wait_after_it_grows_as_before(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.break_open()
    await bench.give(5)
    before = len(bench.sink.sent)
    assert bench.lane.probe_now("alice")
    await bench.work()
    assert len(bench.sink.sent) == before + 1
    clock.advance(59.0)
    await bench.work()
    assert len(bench.sink.sent) == before + 1, "a failed probe waits twice as long, however it came about"
    clock.advance(2.0)
    await bench.work()
    assert len(bench.sink.sent) == before + 2


async def test_a_probe_that_a_person_asks_for_does_not_wait_until_a_delivery_is_due(bench: Bench, clock: FakeClock) -> None:
    await bench.start(RetryPolicy((0.0, 3600.0, 3600.0)), failures=1)
    bench.sink.answer = FAILS
    await bench.give()
    await bench.work()
    bench.sink.answer = Delivered(200)
    assert bench.lane.probe_now("alice")
    await bench.work()
    assert await bench.rows("state") == [("delivered",)] and not bench.lane.gates.breaker.is_open


async def test_there_is_no_probe_of_a_sink_whose_breaker_is_closed(bench: Bench) -> None:
    await bench.start()
    assert not bench.lane.probe_now("alice")
