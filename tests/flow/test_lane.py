"""One lane on a real store, with a clock that tests move: hours of retries in milliseconds."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.retry import RetryPolicy
from gateway.engine.audit import AuditLog
from gateway.engine.gates import Gates
from gateway.engine.janitor import Janitor
from gateway.engine.lane import Lane, LaneSettings, LaneWorld
from gateway.engine.rejections import Rejections
from gateway.engine.space import Space
from gateway.sinks.base import Outgoing
from gateway.store.records import Accepted, Claim, Message, NewMessage, Owed, Settlement, SinkState
from gateway.store.sqlite import Store
from gateway.telemetry import Metrics
from tests.fakes import START, FakeClock, FakeSink, notices_for
from tests.flow.running import until

HOUR = 3600.0
_POLICY = RetryPolicy()
FAILS = Retry(Reason.HTTP_STATUS, "HTTP 500", 500)


class TroubledStore(Store):
    """A store whose disk takes nothing for a while."""

    settles_refused = 0
    claims_refused = 0
    fatal = False
    settling: asyncio.Event | None = None
    """Set when an outcome is on its way to the disk."""

    def has_refused_all_but(self, number: int) -> bool:
        return self.settles_refused == number

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        if self.settles_refused > 0:
            self.settles_refused -= 1
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            future.set_exception(StoreFailed("the disk is gone") if self.fatal else StoreError("the disk is full"))
            return future
        if self.settling is not None:
            self.settling.set()
        return super().settle(settlement)

    async def claim(self, sink: str, now: float, limit: int, busy: Any, *, by_sr: bool = False) -> Claim:
        if self.claims_refused > 0:
            self.claims_refused -= 1
            raise StoreError("locked")
        return await super().claim(sink, now, limit, busy, by_sr=by_sr)


class Bench:
    """A lane with all that it needs. Either its steps are made one by one (`work`), or it runs (`running`)."""

    def __init__(self, store: TroubledStore, audit: AuditLog, clock: FakeClock, log: structlog.testing.CapturingLogger) -> None:
        self.store = store
        self.audit = audit
        self.clock = clock
        self.log = log
        self.sink = FakeSink()
        self.metrics = Metrics()
        self.lane = self.open()

    def open(self, policy: RetryPolicy = _POLICY, concurrency: int = 16, timeout: float = 30.0, breaker: int = 10**6) -> Lane:
        """Another lane for the same sink, as after a restart."""
        log = structlog.wrap_logger(self.log, processors=[structlog.processors.format_exc_info])
        notices = notices_for(self.store, self.audit, self.clock)
        world = LaneWorld(self.store, self.audit, notices, self.metrics, self.clock, log)
        gates = Gates(SinkState(), BreakerPolicy(failures=breaker), None, self.clock)
        self.lane = Lane("erp", self.sink, LaneSettings(policy, concurrency, timeout), gates, world)
        return self.lane

    def janitor(self) -> Janitor:
        log = structlog.wrap_logger(self.log, processors=[])
        return Janitor(
            store=self.store,
            lanes={"erp": self.lane},
            rejections=Rejections(self.audit, self.metrics, self.clock),
            space=Space(lambda: 1 << 40, 1, self.metrics, log),
            metrics=self.metrics,
            clock=self.clock,
            log=log,
        )

    async def accept(self, number: int = 1, *, due_in: float = 0.0) -> list[Owed]:
        """Commit messages that owe a delivery; the lane is not told."""
        return [await self._accept_one(due_in) for _ in range(number)]

    async def give(self, number: int = 1) -> list[Owed]:
        """Commit messages and hand them to the lane, as intake does."""
        return [self._offered(owed) for owed in await self.accept(number)]

    def _offered(self, owed: Owed) -> Owed:
        self.lane.offer(owed, self.clock.now())
        return owed

    async def _accept_one(self, due_in: float) -> Owed:
        now = self.clock.now()
        message = Message(
            id=self.clock.new_id(),
            source="legitmark",
            sender_id=None,
            received_at=now,
            content_type=None,
            body=self.clock.new_id().encode(),
        )
        stored = await self.store.accept(NewMessage(message, "accepted", deliveries=(("erp", now + due_in),)))
        assert isinstance(stored, Accepted)
        return Owed(stored.seq, "erp", message, now)

    async def work(self) -> float | None:
        """Step until there is nothing to do now; the seconds until there is, None: until something is offered."""
        for _ in range(1000):
            before = len(self.sink.sent)
            async with asyncio.TaskGroup() as sends:
                pause = await self.lane.step(sends)
            if pause != 0 and len(self.sink.sent) == before:
                return pause
        raise AssertionError("it is never done")

    async def work_to_the_end(self) -> None:
        """Work and let the time pass in between, until nothing is left to do."""
        for _ in range(200):
            if (pause := await self.work()) is None:
                return
            self.clock.advance(pause)
        raise AssertionError("there is no end")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.lane.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def rows(self, columns: str = "state, attempts, retries, reason") -> list[tuple[Any, ...]]:
        return await self.store.read(
            lambda reader: reader.execute(f"SELECT {columns} FROM deliveries ORDER BY message").fetchall()
        )

    async def lines(self) -> list[dict[str, Any]]:
        await self.audit.flush()
        return [json.loads(line) for line in self.audit.path.read_bytes().splitlines()] if self.audit.path.exists() else []

    async def until_sent(self, number: int) -> None:
        await until(lambda: len(self.sink.sent) >= number)

    async def until_idle(self) -> None:
        await until(lambda: not self.lane._in_flight)

    @property
    def order(self) -> list[str]:
        return [delivery.delivery_id for delivery in self.sink.sent]


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    store = await TroubledStore.open(tmp_path / "gateway.db", 90 * 86400.0)
    assert isinstance(store, TroubledStore)
    log = structlog.testing.CapturingLogger()
    audit = AuditLog(tmp_path / "audit.jsonl", clock, structlog.wrap_logger(log, processors=[]))
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        yield Bench(store, audit, clock, log)
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


def ids(owed: list[Owed]) -> list[str]:
    return [one.delivery_id for one in owed]


async def spin() -> None:
    """Let every task go as far as it can without the disk."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- retries


@pytest.mark.parametrize(
    ("jitter", "waits"), [(0.0, [5, 300, 1800, 7200]), (1.0, [5.5, 330, 1980, 7920]), (-1.0, [4.5, 270, 1620, 6480])]
)
async def test_legitmarks_own_schedule_takes_over_two_hours_and_then_it_is_dead(
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


async def test_retries_are_counted_on_after_a_restart(bench: Bench, clock: FakeClock) -> None:
    bench.sink.answer = FAILS
    await bench.give()
    for attempt in range(1, 6):
        assert len(bench.sink.sent) == attempt - 1
        pause = await bench.work()
        clock.advance(pause or 0.0)
        bench.open()
    assert await bench.rows() == [("dead", 5, 5, "attempts_exhausted")]


async def test_a_failure_in_between_does_not_end_what_is_delivered_later(bench: Bench, clock: FakeClock) -> None:
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


async def test_what_is_not_delivered_within_give_up_after_is_expired_without_another_request(
    bench: Bench, clock: FakeClock
) -> None:
    bench.open(RetryPolicy((0.0, 50.0, 1000.0), give_up_after=100.0))
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


async def test_what_expired_while_the_gateway_was_down_is_not_sent(bench: Bench, clock: FakeClock) -> None:
    await bench.accept(3)
    clock.advance(7 * 24 * HOUR)
    assert await bench.work() is None
    assert bench.sink.sent == [] and await bench.rows() == [("dead", 0, 0, "expired")] * 3


async def test_a_wall_clock_that_goes_back_a_day_holds_nothing_up_for_a_day(bench: Bench, clock: FakeClock) -> None:
    """DESIGN section 7: due times are wall time, and never trusted beyond the longest back-off."""
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
async def test_defer_holds_the_whole_lane_for_as_long_as_it_may(
    bench: Bench, clock: FakeClock, asked: float, held: float
) -> None:
    bench.open(concurrency=1)
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
    bench.open(RetryPolicy((0.0, 1.0)))
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
    bench.open(RetryPolicy((0.0,), give_up_after=2 * HOUR))
    bench.sink.answer = Defer(Reason.RATE_LIMITED, HOUR)
    await bench.give()
    await bench.work_to_the_end()
    assert clock.passed == pytest.approx(2 * HOUR, abs=2)
    assert await bench.rows("state, reason") == [("dead", "expired")]


# --- order, memory, slots


async def test_the_backlog_goes_before_what_is_fresh(bench: Bench, clock: FakeClock) -> None:
    """While the store has due rows, nothing is handed to the lane from memory: oldest first."""
    bench.open(concurrency=1)
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


async def test_a_retry_that_comes_due_goes_before_what_came_later(bench: Bench, clock: FakeClock) -> None:
    bench.open(concurrency=1)
    bench.sink.answer = lambda delivery: FAILS if delivery.attempt == 1 and len(bench.sink.sent) == 1 else Delivered()
    (first,) = await bench.give()
    await bench.work()
    clock.advance(5.0)
    later = await bench.give(3)
    await bench.work()
    assert bench.order == ids([first, first, *later])


async def test_more_than_memory_holds_loses_and_repeats_nothing(bench: Bench) -> None:
    bench.open(concurrency=4)
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
    bench.open(concurrency=1)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give()
        await bench.until_sent(1)
        for owed in await bench.accept(40):
            big = Owed(owed.seq, "erp", Message(owed.message.id, "legitmark", None, START, None, b"x" * 1024 * 1024), START)
            bench.lane.offer(big, bench.clock.now())
        assert sum(len(owed.message.body) for owed in bench.lane._ready) <= 8 * 1024 * 1024
        bench.sink.gate.set()
        await bench.until_sent(41)
    assert max(Counter(bench.order).values()) == 1


@pytest.mark.parametrize("concurrency", [1, 3, 16])
async def test_no_more_attempts_are_in_flight_than_there_are_slots(bench: Bench, concurrency: int) -> None:
    bench.open(concurrency=concurrency)
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(30)
        await bench.until_sent(concurrency)
        await spin()
        assert len(bench.sink.sent) == concurrency
        bench.sink.gate.set()
        await bench.until_sent(30)


async def test_what_a_claim_brought_is_not_taken_again_when_it_is_offered_late(bench: Bench) -> None:
    """Between its commit and its offer lies a turn of the loop, and a claim can read it in that moment."""
    (owed,) = await bench.accept()
    await bench.work()
    bench.lane.offer(owed, bench.clock.now())
    await bench.work()
    assert bench.order == ids([owed])
    assert [line["event"] for line in await bench.lines()] == ["delivery.delivered"]


async def test_a_lane_without_a_free_slot_sleeps_though_a_retry_is_due(bench: Bench, clock: FakeClock) -> None:
    """A pause of 0 would make `run` spin without ever giving the loop back: the whole process would stand still."""
    bench.open(concurrency=1)
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


async def test_what_is_offered_while_the_lane_sleeps_is_sent_at_once(bench: Bench) -> None:
    async with bench.running():
        await spin()
        for number in range(1, 4):
            await bench.give()
            await bench.until_sent(number)


async def test_what_is_not_due_yet_waits_for_its_time(bench: Bench, clock: FakeClock) -> None:
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
    """What is committed is in reach of a claim before it is offered: then it must not be taken from both."""
    for _ in range(100):
        bench.open(concurrency=2)
        old = await bench.accept(3)
        before = len(bench.sink.sent)
        async with bench.running():
            fresh = await bench.give(5)
            await bench.until_sent(before + 8)
            await bench.until_idle()
        assert Counter(bench.order[before:]) == Counter(ids(old + fresh))


# --- trouble


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
    bench.open(timeout=0.05)
    bench.sink.gate = asyncio.Event()
    await bench.give(2)
    assert await bench.work() == pytest.approx(5.0, abs=0.002)
    assert await bench.rows() == [("queued", 1, 1, "timeout")] * 2


async def test_stop_waits_for_what_is_in_flight_and_claims_nothing_more(bench: Bench) -> None:
    bench.open(concurrency=2)
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
        await asyncio.wait_for(task, 5)
    assert bench.sink.closed >= 1 and len(bench.sink.sent) == 2
    assert await bench.rows("state") == [("delivered",)] * 2 + [("queued",)] * 5


async def test_a_cut_in_the_middle_of_an_attempt_costs_nothing(bench: Bench) -> None:
    bench.sink.gate = asyncio.Event()
    async with bench.running() as task:
        await bench.give(2)
        await bench.until_sent(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.sink.closed >= 1
    assert await bench.rows() == [("queued", 0, 0, None)] * 2 and await bench.lines() == []


async def test_a_cut_while_the_outcome_is_committed_still_says_what_happened(bench: Bench) -> None:
    """Cancelling the wait does not stop the SQL: what was committed has to stand in the audit log."""
    for _ in range(20):
        bench.open()
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


async def test_an_outcome_that_cannot_be_committed_keeps_its_slot_and_is_not_forgotten(bench: Bench, clock: FakeClock) -> None:
    bench.open(concurrency=1)
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


async def test_a_disk_that_cannot_be_trusted_ends_the_lane(bench: Bench) -> None:
    bench.store.settles_refused, bench.store.fatal = 1, True
    await bench.give()
    with pytest.RaisesGroup(StoreFailed):
        await asyncio.wait_for(bench.lane.run(), 5)
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


async def test_while_the_audit_log_takes_nothing_nothing_is_sent(bench: Bench) -> None:
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
