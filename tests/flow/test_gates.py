"""A lane and its gates on a real store, with a clock that tests move: breaker, rate, pause, a hold, and a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject
from gateway.core.retry import RetryPolicy
from gateway.engine.audit import AuditLog
from gateway.engine.gates import Gates
from gateway.engine.lane import Lane, LaneSettings, LaneWorld
from gateway.store import operations, reads
from gateway.store.operations import Target
from gateway.store.records import Accepted, Claim, Message, NewMessage, Owed, SinkState
from tests.fakes import START, FakeClock, notices_for
from tests.flow.running import until
from tests.flow.test_lane import FAILS, HOUR, Bench, TroubledStore, ids, spin

_POLICY = RetryPolicy()
DAY = 24 * HOUR
_A_BIT = 0.002
"""Seconds: what the store keeps is rounded to milliseconds."""


class GateStore(TroubledStore):
    """A store whose reader can be made to wait, and whose disk refuses what is kept of a lane."""

    claiming: asyncio.Event | None = None
    """Set when a claim has read what it returns."""
    go_on: asyncio.Event | None = None
    keeps_refused = 0

    async def claim(self, sink: str, now: float, limit: int, busy: Any, *, by_sr: bool = False) -> Claim:
        claim = await super().claim(sink, now, limit, busy, by_sr=by_sr)
        if self.claiming is not None and self.go_on is not None:
            self.claiming.set()
            await self.go_on.wait()
        return claim

    async def keep_sink(self, sink: str, state: SinkState) -> None:
        if self.keeps_refused > 0:
            self.keeps_refused -= 1
            raise StoreError("the disk is full")
        await super().keep_sink(sink, state)


class GateBench(Bench):
    store: GateStore

    async def start(
        self,
        *,
        failures: int = 3,
        probe: float = 30.0,
        rate: float | None = None,
        concurrency: int = 16,
        by_sr: bool = False,
        policy: RetryPolicy = _POLICY,
    ) -> Lane:
        """A new lane on what is kept in the store, as after a restart."""
        log = structlog.wrap_logger(self.log, processors=[])
        notices = notices_for(self.store, self.audit, self.clock)
        world = LaneWorld(self.store, self.audit, notices, self.metrics, self.clock, log)
        kept = (await self.store.read(reads.sink_states)).get("erp", SinkState())
        gates = Gates(kept, BreakerPolicy(failures, probe), rate, self.clock)
        self.lane = Lane("erp", self.sink, LaneSettings(policy, concurrency, 30.0, by_sr), gates, world)
        return self.lane

    async def accept_of(self, sr: str, at: float) -> Owed:
        now = self.clock.now()
        message = Message(self.clock.new_id(), "legitmark", None, now, None, self.clock.new_id().encode(), sr_uuid=sr)
        stored = await self.store.accept(NewMessage(message, "accepted", None, (("erp", now),), frozenset({"erp"}), at))
        assert isinstance(stored, Accepted)
        return Owed(stored.seq, "erp", message, now)

    async def discard(self, *owed: Owed) -> None:
        targets = [Target(one.seq, "erp") for one in owed]
        await self.store.change(lambda link, changes: operations.discard(link, targets, self.clock.now(), changes))

    async def to_the_end(self, most: float = 1e6) -> None:
        """Work and let time pass, until nothing is queued."""
        begun = self.clock.passed
        while self.clock.passed - begun < most:
            pause = await self.work()
            if not await self.queued():
                return
            self.clock.advance(min(pause if pause is not None else 30.0, 30.0) + _A_BIT)
        raise AssertionError("there is no end")

    async def queued(self) -> int:
        return [state for (state,) in await self.rows("state")].count("queued")

    async def events(self, *names: str) -> list[str]:
        return [line["event"] for line in await self.lines() if not names or line["event"] in names]


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[GateBench]:
    store = await GateStore.open(tmp_path / "gateway.db", 90 * 86400.0)
    assert isinstance(store, GateStore)
    log = structlog.testing.CapturingLogger()
    audit = AuditLog(tmp_path / "audit.jsonl", clock, structlog.wrap_logger(log, processors=[]))
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        bench = GateBench(store, audit, clock, log)
        await bench.start()
        yield bench
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


async def break_open(bench: GateBench) -> list[Owed]:
    """Three deliveries that fail, and open the breaker."""
    bench.sink.answer = FAILS
    owed = await bench.give(3)
    await bench.work()
    assert bench.lane.gates.breaker.is_open
    bench.sink.sent.clear()
    return owed


# --- the breaker


async def test_while_it_is_open_only_one_probe_goes_each_time_and_ever_more_seldom(bench: GateBench, clock: FakeClock) -> None:
    await break_open(bench)
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


async def test_a_sink_that_is_down_all_night_costs_the_waiting_deliveries_nothing(bench: GateBench, clock: FakeClock) -> None:
    failed = await break_open(bench)
    waiting = await bench.give(20)
    for _ in range(12 * 60):
        await bench.work()
        clock.advance(60.0)
    rows = await bench.rows("state, retries")
    assert rows == [("queued", 1)] * len(failed) + [("queued", 0)] * len(waiting)
    bench.sink.answer = Delivered(200)
    await bench.to_the_end()
    assert await bench.rows("DISTINCT state") == [("delivered",)]


async def test_a_probe_that_fails_is_counted_as_an_attempt_and_not_as_budget(bench: GateBench, clock: FakeClock) -> None:
    await bench.start(failures=1)
    bench.sink.answer = FAILS
    await bench.give()
    await bench.work()
    for _ in range(6):
        clock.advance(601.0)
        await bench.work()
    assert await bench.rows("state, attempts, retries") == [("queued", 7, 1)]
    assert [delivery.attempt for delivery in bench.sink.sent] == [1, 2, 3, 4, 5, 6, 7]


async def test_each_probe_takes_another_delivery_so_that_a_poisoned_one_cannot_keep_it_open(
    bench: GateBench, clock: FakeClock
) -> None:
    await break_open(bench)
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


async def test_a_probe_that_succeeds_closes_it_and_the_rest_goes_oldest_first(bench: GateBench, clock: FakeClock) -> None:
    await bench.start(concurrency=1)
    await break_open(bench)
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


async def test_opening_drops_what_was_read_ahead_and_nothing_is_sent_twice_or_lost(bench: GateBench, clock: FakeClock) -> None:
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


async def test_one_audit_line_and_one_log_line_tell_of_a_change_not_one_per_delivery(bench: GateBench, clock: FakeClock) -> None:
    bench.sink.answer = FAILS
    await bench.give(16)
    await bench.work()
    (line,) = [line for line in await bench.lines() if line["event"] == "sink.opened"]
    assert (line["sink"], line["reason"], line["detail"]) == ("erp", "http_status", "HTTP 500")
    assert [call.kwargs["event"] for call in bench.log.calls].count("sink.opened") == 1


async def test_it_is_open_after_a_restart_and_its_probe_comes_when_it_would_have(bench: GateBench, clock: FakeClock) -> None:
    await break_open(bench)
    clock.advance(10.0)
    await bench.start()
    assert bench.lane.gates.breaker.is_open
    assert await bench.work() == pytest.approx(20.0, abs=_A_BIT)
    clock.advance(20.01)
    await bench.work()
    assert len(bench.sink.sent) == 1
    await bench.start()
    assert await bench.work() == pytest.approx(60.0, abs=_A_BIT)


async def test_after_a_restart_on_a_clock_that_went_back_a_day_the_probe_comes_within_its_wait(
    bench: GateBench, clock: FakeClock
) -> None:
    await break_open(bench)
    clock.jump(-DAY)
    await bench.start()
    await bench.janitor().clamp()
    assert await bench.work() == pytest.approx(30.0, abs=_A_BIT)


@pytest.mark.parametrize("outcome", [Reject(Reason.HTTP_STATUS, "HTTP 410", 410), Delivered(200)])
async def test_a_reject_shows_a_sink_at_work_and_starts_the_count_anew(bench: GateBench, outcome: Outcome) -> None:
    await bench.start(concurrency=1)
    answers: list[Outcome] = [FAILS, FAILS, outcome, FAILS, FAILS]
    bench.sink.answer = lambda _: answers.pop(0)
    await bench.give(5)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open and bench.lane.gates.breaker.failures == 2


async def test_a_probe_that_is_rejected_closes_it(bench: GateBench, clock: FakeClock) -> None:
    await break_open(bench)
    bench.sink.answer = Reject(Reason.HTTP_STATUS, "HTTP 400", 400)
    clock.advance(30.01)
    await bench.work()
    assert not bench.lane.gates.breaker.is_open


async def test_defer_never_opens_it_and_does_not_close_it_either(bench: GateBench, clock: FakeClock) -> None:
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


async def test_what_expires_while_it_is_open_is_given_up_without_a_request(bench: GateBench, clock: FakeClock) -> None:
    await bench.start(policy=RetryPolicy(give_up_after=100.0), probe=3600.0)
    await break_open(bench)
    await bench.give(2)
    clock.advance(101.0)
    await bench.work()
    assert await bench.rows("state, reason") == [("dead", "expired")] * 5
    assert bench.sink.sent == []


# --- a gate that closes while the lane reads


async def test_a_retry_after_that_comes_while_the_lane_reads_the_store_holds_what_it_read(bench: GateBench) -> None:
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
        await asyncio.wait_for(bench.store.claiming.wait(), 5)
        bench.sink.gate.set()
        await bench.until_idle()
        assert bench.lane.gates.closed_for() > 500
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    assert len(bench.sink.sent) == 1


async def test_a_breaker_that_opens_while_the_lane_reads_the_store_holds_what_it_read(bench: GateBench) -> None:
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
        await asyncio.wait_for(bench.store.claiming.wait(), 5)
        bench.sink.gate.set()
        await until(lambda: bench.lane.gates.breaker.is_open)
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
        sent = len(bench.sink.sent)
        bench.clock.advance(1.0)
    assert sent == 1


async def test_a_probe_does_not_go_when_the_lane_was_paused_while_it_read_the_store(bench: GateBench, clock: FakeClock) -> None:
    await break_open(bench)
    clock.advance(31.0)
    bench.store.claiming, bench.store.go_on = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as sends:
        step = asyncio.create_task(bench.lane.step(sends))
        await asyncio.wait_for(bench.store.claiming.wait(), 5)
        await bench.lane.pause("ann")
        bench.store.go_on.set()
        await step
        bench.store.claiming = None
    assert bench.sink.sent == []


# --- pause


async def test_a_paused_lane_holds_all_and_loses_none(bench: GateBench, clock: FakeClock) -> None:
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


async def test_a_pause_survives_a_restart_and_so_does_its_end(bench: GateBench, clock: FakeClock) -> None:
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


async def test_what_is_in_flight_when_the_lane_is_paused_comes_to_its_end(bench: GateBench) -> None:
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


async def test_what_expires_during_a_pause_is_given_up(bench: GateBench, clock: FakeClock) -> None:
    await bench.start(policy=RetryPolicy(give_up_after=100.0))
    await bench.lane.pause("ann")
    async with bench.running():
        await bench.give(2)

        def given_up() -> bool:
            clock.advance(5.0)  # time goes on while the store is read, however long that takes
            return bench.audit.path.exists() and len(bench.audit.path.read_bytes().splitlines()) == 3

        await until(given_up)
    assert await bench.rows("state, attempts, reason") == [("dead", 0, "expired")] * 2
    assert bench.sink.sent == []


async def test_a_pause_that_could_not_be_kept_is_not_taken_for_one_that_was(bench: GateBench) -> None:
    """Who is answered 503 says it again; the answer `already` has to mean that it lasts beyond a restart."""
    bench.store.keeps_refused = 1
    with pytest.raises(StoreError):
        await bench.lane.pause("ann")
    await bench.lane.pause("ann")
    await bench.start()
    assert bench.lane.gates.paused


async def test_a_pause_does_not_make_an_open_breaker_forget(bench: GateBench, clock: FakeClock) -> None:
    await break_open(bench)
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
async def test_the_rate_paces_the_starts(bench: GateBench, clock: FakeClock, rate: float, at_once: int) -> None:
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


async def test_a_rate_makes_no_false_alarm_of_a_delivery_that_is_overdue(bench: GateBench, clock: FakeClock) -> None:
    """A lane that waits for its rate is not free: the janitor cries out only where something is wrong."""
    await bench.start(rate=0.1)
    await bench.accept(5)
    janitor = bench.janitor()
    for _ in range(30):
        await bench.work()
        clock.advance(1.0)
        await janitor.step()
    assert "invariant.overdue" not in [call.kwargs["event"] for call in bench.log.calls]


# --- order


async def test_in_order_the_second_one_of_a_service_request_follows_the_first_at_once(bench: GateBench) -> None:
    await bench.start(by_sr=True)
    later, first = await bench.accept_of("a", START + 2), await bench.accept_of("a", START + 1)
    other = await bench.accept_of("b", START)
    await bench.work()
    assert sorted(bench.order) == sorted(ids([later, first, other]))
    assert bench.order.index(first.delivery_id) < bench.order.index(later.delivery_id)


async def test_in_order_a_running_lane_delivers_each_service_request_in_its_order(bench: GateBench) -> None:
    await bench.start(by_sr=True, concurrency=4)
    async with bench.running():
        owed = []
        for number in range(24):
            one = await bench.accept_of(f"sr{number % 3}", START)
            bench.lane.offer(one, bench.clock.now())
            owed.append(one)
        await bench.until_sent(24)
        await bench.until_idle()
    for sr in range(3):
        mine = ids(owed[sr::3])
        assert [one for one in bench.order if one in mine] == mine
    assert len(bench.order) == 24


async def test_in_order_a_later_event_that_waits_for_an_earlier_one_is_no_false_alarm(bench: GateBench, clock: FakeClock) -> None:
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


# --- discard, while the lane has it


async def test_a_delivery_that_is_discarded_while_it_waits_in_memory_is_not_sent(bench: GateBench) -> None:
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
    bench: GateBench, clock: FakeClock
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
    assert announced == []  # nobody is told of a next attempt that there will never be


# --- a clock that jumps


@pytest.mark.parametrize("jump", [HOUR, DAY, -HOUR, -DAY])
async def test_after_a_jump_of_the_clock_all_retries_come_within_the_longest_back_off_and_in_no_storm(
    bench: GateBench, clock: FakeClock, jump: float
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
        assert len(bench.sink.sent) - had <= 10  # of ten seconds, fifty; a second's worth, and what the slots take
        assert clock.passed - at <= 7200 * 1.1 + 60
        clock.advance(10.0)
    assert len(bench.sink.sent) - before == 12


@pytest.mark.parametrize("jump", [-HOUR, -DAY])
async def test_an_open_breaker_probes_in_time_though_the_clock_went_back(bench: GateBench, clock: FakeClock, jump: float) -> None:
    await break_open(bench)
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
    bench: GateBench, clock: FakeClock, jump: float
) -> None:
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 600.0)
    await bench.give()
    await bench.work()
    janitor = bench.janitor()
    await janitor.step()
    clock.jump(jump)
    await janitor.step()
    pause = await bench.work()
    assert pause == pytest.approx(600.0, abs=_A_BIT)
    assert len(bench.sink.sent) == 1
