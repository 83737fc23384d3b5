"""The two events of a rejection go through the inbox, a real store and a lane, and reach the sink as one delivery."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import structlog

from gateway.core.audit_events import GatewayStarted
from gateway.core.breaker import BreakerPolicy
from gateway.core.events import Event, decode
from gateway.core.outcome import Defer, Delivered, Reason
from gateway.core.records import Owed, message_about
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.selection import Target
from gateway.delivery.world import LaneSettings
from gateway.ingest.accept import Inbox, Rules
from gateway.maintenance.audit_catchup import catch_up
from tests.engine.bench import A_BIT, FAILS, Bench, TroubledStore, spin, working
from tests.fakes import FakeClock
from tests.support.stories import bodies
from tests.support.waiting import until

JOIN = 30.0
POLICY = RetryPolicy(schedule=(0.0, 5.0, 5.0))


class Incoming:
    """The inbox in front of the lane of a bench."""

    def __init__(self, bench: Bench, *, join: float = JOIN, by_sr: bool = False) -> None:
        self.bench = bench
        self.inbox = Inbox(
            store=bench.store,
            audit=bench.audit,
            rules=self.rules(join, by_sr=by_sr),
            offer=self._offer,
            expect=lambda sink, due: bench.lane.expect(due),
            metrics=bench.metrics,
            clock=bench.clock,
            log=structlog.wrap_logger(bench.log, processors=[]),
        )

    def rules(self, join: float, *, by_sr: bool = False) -> Rules:
        in_order = frozenset(("erp",)) if by_sr else frozenset[str]()
        return Rules(Router([Route("all", ("erp",), join=join)]), {"erp": POLICY}, in_order)

    async def put(self, text: str, sr: str = "sr-1") -> str:
        """Take an event such as `M21` in, and return the id of its message."""
        (values,) = bodies(text, sr)
        body = json.dumps(values).encode()
        event = decode(body)
        assert isinstance(event, Event)
        message_id, now = self.bench.clock.new_id(), self.bench.clock.now()
        message = message_about(
            event, body, message_id=message_id, source="legitmark", received_at=now, sender_id=f"msg_{message_id}"
        )
        await self.inbox.put(message, event)
        return message_id

    def _offer(self, owed: Owed, due: float) -> None:
        self.bench.lane.offer(owed, due)


def told(bench: Bench) -> list[tuple[str, str | None]]:
    """The ids of the messages of each attempt, and of those that were told with them."""
    return [(sent.message.id, None if sent.partner is None else sent.partner.id) for sent in bench.sink.sent]


@pytest.fixture
async def incoming(bench: Bench) -> Incoming:
    await bench.start(POLICY, joins=True)
    return Incoming(bench)


@pytest.mark.parametrize("order", [("R20", "M21"), ("M21", "R20")])
async def test_two_events_make_one_attempt_as_soon_as_the_second_is_there(
    incoming: Incoming, order: tuple[str, str], clock: FakeClock
) -> None:
    bench = incoming.bench
    await bench.work()  # from now on, fresh deliveries come from memory
    first = await incoming.put(order[0])
    assert await bench.work() == pytest.approx(JOIN) and bench.sink.sent == []
    clock.advance(2.0)
    second = await incoming.put(order[1])
    await bench.work()
    assert told(bench) == [(first, second)]
    assert await bench.rows("state, reason") == [("delivered", None), ("discarded", "joined")]
    (joined,) = [line for line in await bench.lines() if line["event"] == "delivery.joined"]
    assert (joined["message_id"], joined["sink"], joined["reason"]) == (second, "erp", "joined")
    assert (joined["delivery_id"], joined["told_by"]) == (f"{second}-erp", f"{first}-erp")


async def test_a_lane_that_runs_is_woken_by_the_second_event(incoming: Incoming) -> None:
    bench = incoming.bench
    async with bench.running():
        first = await incoming.put("R20")
        await spin()
        second = await incoming.put("M21")
        await bench.until_sent(1)
        await bench.until_idle()
    assert told(bench) == [(first, second)]


async def test_a_second_event_that_comes_too_late_goes_out_alone(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    first = await incoming.put("R20")
    clock.advance(JOIN + A_BIT)
    await bench.work()
    second = await incoming.put("M21")
    await bench.work()
    assert told(bench) == [(first, None), (second, None)]


async def test_a_second_event_that_comes_during_the_first_attempt_goes_out_alone(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    bench.sink.gate = asyncio.Event()
    async with bench.running():
        first = await incoming.put("R20")
        await spin()
        clock.advance(JOIN + A_BIT)
        await bench.until_sent(1)
        second = await incoming.put("M21")
        bench.sink.gate.set()
        await bench.until_sent(2)
        await bench.until_idle()
    assert told(bench) == [(first, None), (second, None)]


async def test_each_attempt_tells_both_also_after_a_restart(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    bench.sink.answer = FAILS
    first, second = await incoming.put("M21"), await incoming.put("R20")
    await bench.work()
    await bench.start(POLICY, joins=True)
    bench.sink.answer = Delivered()
    await bench.to_the_end()
    assert told(bench) == [(first, second), (first, second)]
    assert [sent.attempt for sent in bench.sink.sent] == [1, 2]


async def test_a_restart_between_the_two_events_joins_them_all_the_same(tmp_path: Path, clock: FakeClock) -> None:
    ids = []
    for number, text in enumerate(("R20", "M21")):
        async with working(TroubledStore, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, audit):
            bench = Bench(store, audit, clock, structlog.testing.CapturingLogger())
            await bench.start(POLICY, joins=True)
            ids.append(await Incoming(bench).put(text))
            await bench.work()
            assert len(bench.sink.sent) == number
    assert told(bench) == [(ids[0], ids[1])]


async def test_a_restart_after_the_wait_sends_the_first_event_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with working(TroubledStore, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, audit):
        bench = Bench(store, audit, clock, structlog.testing.CapturingLogger())
        await bench.start(POLICY, joins=True)
        first = await Incoming(bench).put("R20")
        clock.advance(3600.0)
        await bench.start(POLICY, joins=True)
        await bench.work()
        assert told(bench) == [(first, None)]


async def test_a_sink_that_is_paused_longer_than_the_wait_gets_one_message(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    await bench.lane.pause("ann")
    first = await incoming.put("R20")
    clock.advance(3600.0)
    await bench.work()
    second = await incoming.put("M21")
    await bench.lane.resume("ann")
    await bench.work()
    assert told(bench) == [(first, second)]


async def test_a_sink_that_asks_for_time_and_a_probe_get_both_events_too(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    first, second = await incoming.put("R20"), await incoming.put("M21")
    bench.sink.answer = Defer(Reason.RATE_LIMITED, 60.0)
    await bench.work()
    bench.sink.answer = Delivered()
    clock.advance(61.0)
    await bench.work()
    assert told(bench) == [(first, second)] * 2
    bench.sink.sent.clear()
    await bench.start(RetryPolicy(), joins=True)
    await bench.break_open()
    third, fourth = await incoming.put("M41"), await incoming.put("R40")
    bench.sink.answer = Delivered()
    await bench.to_the_end()
    assert (third, fourth) in told(bench)


async def test_two_events_die_as_one_delivery_and_a_replay_tells_both(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    await bench.start(RetryPolicy(schedule=(0.0,), give_up_after=60.0), joins=True)
    await bench.lane.pause("ann")
    first, second = await incoming.put("R20"), await incoming.put("M21")
    clock.advance(61.0)
    await bench.work()
    assert await bench.rows("state, reason") == [("dead", "expired"), ("discarded", "joined")]
    await bench.lane.resume("ann")
    await bench.store.reopen([Target(1, "erp")], ["dead"], add=False, now=clock.now(), actor="ann")
    bench.lane.refresh()
    await bench.work()
    assert told(bench) == [(first, second)]


async def test_a_reload_that_removes_the_join_lets_the_second_event_go_alone(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    first = await incoming.put("R20")
    incoming.inbox.use(incoming.rules(0.0))
    second = await incoming.put("M21")
    await bench.work()
    clock.advance(JOIN + A_BIT)
    await bench.work()
    assert told(bench) == [(second, None), (first, None)]


async def test_a_sink_that_became_one_that_cannot_join_gets_each_event_alone(incoming: Incoming, clock: FakeClock) -> None:
    bench = incoming.bench
    await bench.lane.pause("ann")
    first, second = await incoming.put("R20"), await incoming.put("M21")
    bench.lane.change(LaneSettings(POLICY, 16, 30.0), BreakerPolicy(3, 30.0), None, bench.sink)
    await bench.lane.resume("ann")
    await bench.work()
    assert told(bench) == [(first, None), (second, None)]
    assert await bench.rows("state") == [("delivered",)] * 2


async def test_while_the_disk_takes_nothing_a_joined_delivery_is_not_sent_and_not_lost(
    incoming: Incoming, clock: FakeClock
) -> None:
    bench = incoming.bench
    first, second = await incoming.put("R20"), await incoming.put("M21")
    bench.store.closes_refused = 2
    async with bench.running():
        for left in (1, 0):
            await until(lambda left=left: bench.store.closes_refused == left)  # type: ignore[misc]
            await spin()
            assert bench.sink.sent == []
            clock.advance(1.0)
        await bench.until_sent(1)
        await bench.until_idle()
    assert told(bench) == [(first, second)]


async def test_with_an_order_later_events_wait_behind_the_one_that_waits(bench: Bench, clock: FakeClock) -> None:
    await bench.start(POLICY, by_sr=True, joins=True)
    incoming = Incoming(bench, by_sr=True)
    pending = await incoming.put("P10")
    await bench.work()
    first, later = [await incoming.put(text) for text in ("M21", "P30")]
    await bench.work()
    assert told(bench) == [(pending, None)]
    clock.advance(JOIN + A_BIT)
    await bench.work()
    assert told(bench)[1:] == [(first, None), (later, None)]


@pytest.mark.parametrize("kept", [2, 3, 4])
async def test_after_a_crash_the_missing_line_of_a_joined_delivery_is_written_once(
    kept: int, tmp_path: Path, clock: FakeClock
) -> None:
    file = tmp_path / "audit.jsonl"
    async with working(TroubledStore, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, audit):
        bench = Bench(store, audit, clock, structlog.testing.CapturingLogger())
        await bench.start(POLICY, joins=True)
        audit.step(GatewayStarted(detail="1"))
        incoming = Incoming(bench)
        first, second = await incoming.put("R20"), await incoming.put("M21")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:kept]))
    async with working(TroubledStore, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, audit):
        await catch_up(store, audit, file, unclean=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["gateway.started", "message.accepted", "message.accepted", "delivery.joined"]
    assert (lines[3]["message_id"], lines[3]["told_by"]) == (second, f"{first}-erp") and lines[2]["sinks"] == ["erp"]
