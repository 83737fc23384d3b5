"""A lane in trouble: sinks with bugs, cut attempts, a disk or an audit log that cannot be written."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

import pytest

from gateway.core.errors import StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason
from gateway.sinks.base import Outgoing
from tests.engine.bench import FAILS, Bench, spin
from tests.fakes import FakeClock
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("no_breaker")


async def test_a_sink_that_raises_is_a_bug_that_is_logged_and_tried_again(bench: Bench, clock: FakeClock) -> None:
    def answer(delivery: Outgoing) -> Outcome:
        if delivery.attempt == 1:
            raise ZeroDivisionError("of ours")
        return Delivered()

    bench.sink.answer = answer
    (owed,) = await bench.give()
    assert await bench.work() == pytest.approx(5.0, abs=0.002)
    (call,) = bench.log.calls
    assert call.method_name == "error" and call.kwargs["delivery_id"] == owed.delivery_id
    assert "ZeroDivisionError: of ours" in call.kwargs["exception"]
    assert await bench.rows() == [("queued", 1, 1, "bug")]
    (line,) = await bench.lines()
    assert (line["event"], line["reason"]) == ("delivery.retrying", "bug") and "ZeroDivision" not in line["detail"]
    clock.advance(5.0)
    assert await bench.work() is None
    assert await bench.rows("state, attempts") == [("delivered", 2)]


async def test_a_sink_that_hangs_is_a_timeout(bench: Bench) -> None:
    await bench.start(timeout=0.05)
    bench.sink.gate = asyncio.Event()
    await bench.give(2)
    assert await bench.work() == pytest.approx(5.0, abs=0.002)
    assert await bench.rows() == [("queued", 1, 1, "timeout")] * 2


async def test_a_stop_waits_for_attempts_in_flight_and_claims_nothing_more(bench: Bench) -> None:
    await bench.start(concurrency=2)
    bench.sink.gate = asyncio.Event()
    async with bench.running() as task:
        await bench.give(5)
        await bench.until_sent(2)
        bench.lane.stop()
        bench.lane.stop()
        await bench.give(2)
        await spin()
        assert not task.done() and bench.sink.closed == 0
        bench.sink.gate.set()
        await asyncio.wait_for(task, PATIENCE)
    assert bench.sink.closed >= 1 and len(bench.sink.sent) == 2
    assert await bench.rows("state") == [("delivered",)] * 2 + [("queued",)] * 5


async def test_an_attempt_that_is_cut_costs_nothing(bench: Bench) -> None:
    bench.sink.gate = asyncio.Event()
    async with bench.running() as task:
        await bench.give(2)
        await bench.until_sent(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.sink.closed >= 1
    assert await bench.rows() == [("queued", 0, 0, None)] * 2 and await bench.lines() == []


async def test_an_outcome_committed_during_a_cut_still_has_its_audit_line(bench: Bench) -> None:
    """Cancelling the wait does not stop the SQL, so the committed outcome needs its line in the audit log."""
    for _ in range(20):
        await bench.start()
        bench.store.settling = asyncio.Event()
        async with bench.running() as task:
            await bench.give()
            await bench.store.settling.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    states = await bench.rows("state")
    assert len(states) == 20
    delivered = [line for line in await bench.lines() if line["event"] == "delivery.delivered"]
    assert len(delivered) == states.count(("delivered",)) > 0


async def test_a_cut_lane_ends_only_after_the_store_has_told_about_its_outcomes(bench: Bench) -> None:
    """The gateway closes the audit log and the store after its lanes have ended."""
    bench.store.settling, bench.store.tell = asyncio.Event(), asyncio.Event()
    async with bench.running() as task:
        await bench.give()
        await asyncio.wait_for(bench.store.settling.wait(), PATIENCE)
        task.cancel()
        await spin()
        assert not task.done()  # the line may be there: the thread that commits writes it before it tells
        bench.store.tell.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)
    assert await bench.events() == ["delivery.delivered"] and await bench.rows("state") == [("delivered",)]
    assert bench.sink.closed >= 1


async def test_an_outcome_that_cannot_be_committed_keeps_its_slot_and_is_not_forgotten(bench: Bench, clock: FakeClock) -> None:
    await bench.start(concurrency=1)
    bench.store.settles_refused = 3
    async with bench.running():
        await bench.give(2)
        for left in (2, 1, 0):
            await until(functools.partial(bench.store.has_refused_all_but, left))
            await spin()
            assert len(bench.sink.sent) == 1 and bench.sink.sent[0].attempt == 1
            clock.advance(1.0)
        await bench.until_sent(2)
        await bench.until_idle()
    assert len(set(bench.order)) == 2
    assert await bench.rows("state, attempts") == [("delivered", 1)] * 2


async def test_a_broken_disk_ends_the_lane(bench: Bench) -> None:
    bench.store.settles_refused, bench.store.fatal = 1, True
    await bench.give()
    with pytest.RaisesGroup(StoreFailed):
        await asyncio.wait_for(bench.lane.run(), PATIENCE)
    assert bench.sink.closed >= 1


async def test_a_store_that_cannot_be_read_is_asked_again_a_second_later(bench: Bench, clock: FakeClock) -> None:
    bench.store.claims_refused = 2
    await bench.accept(3)
    for _ in range(2):
        assert await bench.work() == 1.0
        assert bench.sink.sent == []
        clock.advance(1.0)
    assert await bench.work() is None
    assert await bench.rows("state") == [("delivered",)] * 3


async def test_nothing_is_sent_while_the_audit_log_cannot_be_written(bench: Bench) -> None:
    bench.audit.failing = True
    await bench.give(2)
    assert await bench.work() == 1.0
    assert bench.sink.sent == []
    bench.audit.failing = False
    assert await bench.work() is None
    assert len(bench.sink.sent) == 2


async def test_every_attempt_and_every_end_is_counted(bench: Bench, clock: FakeClock) -> None:
    answers: list[Outcome] = [FAILS, Defer(Reason.RATE_LIMITED, 5.0), Delivered(200)]
    bench.sink.answer = lambda _: answers.pop(0)
    await bench.give()
    await bench.work_to_the_end()
    value: Callable[..., float | None] = bench.metrics.registry.get_sample_value
    for outcome, reason in (("retry", "http_status"), ("defer", "rate_limited"), ("delivered", "")):
        assert value("legitmark_gateway_attempts_total", {"sink": "erp", "outcome": outcome, "reason": reason}) == 1
    assert value("legitmark_gateway_deliveries_ended_total", {"sink": "erp", "state": "delivered", "reason": ""}) == 1


async def test_nothing_is_sent_while_the_disk_is_full_and_the_lane_goes_on_when_there_is_room(
    bench: Bench, clock: FakeClock
) -> None:
    """A delivery whose outcome cannot be committed would be sent again after a crash."""
    await bench.give(40)
    pages = await bench.limit_pages(1)  # fewer than there are: SQLite says that the disk is full
    with pytest.raises(StoreError):
        await bench.accept(body=b"x" * 100_000)
    assert bench.store.trouble is not None
    for _ in range(3):
        assert await bench.work() == 1.0
        clock.advance(1.0)
    assert bench.sink.sent == [] and not bench.lane.idle
    await bench.limit_pages(pages)
    await bench.janitor().step()
    assert bench.store.trouble is None
    await bench.work()
    assert await bench.rows("DISTINCT state, attempts") == [("delivered", 1)] and len(bench.sink.sent) == 40


async def test_no_probe_is_sent_while_the_disk_is_full(bench: Bench, clock: FakeClock) -> None:
    bench.failures = 3
    await bench.start()
    await bench.break_open()
    clock.advance(31.0)
    bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as sends:
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), PATIENCE)
        await bench.limit_pages(1)
        with pytest.raises(StoreError):  # it fills up while the lane reads
            await bench.accept(body=b"x" * 100_000)
        bench.store.go_on.set()
        assert await step == 0.0
    assert bench.sink.sent == []
    assert await bench.work() == 1.0


async def test_a_lane_in_trouble_looks_again_after_a_second_and_not_at_once(bench: Bench, clock: FakeClock) -> None:
    await bench.accept()
    clock.advance(31.0)  # there is a delivery to give up, but the store refuses the change
    bench.store.commits.trouble = "the disk is full"
    for _ in range(3):
        async with asyncio.TaskGroup() as sends:
            assert bench.lane.rest(await bench.lane.step(sends)) == 1.0
