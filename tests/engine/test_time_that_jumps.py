"""The wall clock jumps: no delivery ages because of it, and none is given up or deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.app.lifecycle import Gateway
from gateway.config import load
from gateway.core.outcome import Delivered
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.maintenance.clock_jumps import LaneClock
from gateway.store.sqlite.store import SqliteStore
from tests.engine.aging_bench import LONGEST, AgingBench, aging
from tests.engine.bench import DAY, FAILS, HOUR
from tests.fakes import START, FakeClock
from tests.store.kit import one, rows
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event

KEPT_TIME = "SELECT jumped_ms, seen_ms FROM timeline"


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[AgingBench]:
    async with aging(tmp_path, clock) as bench:
        yield bench


# --- give_up_after


@pytest.mark.parametrize("lane_first", [True, False], ids=["the lane looks first", "the janitor looks first"])
@pytest.mark.parametrize("jump", [DAY, -DAY, 91 * DAY, -91 * DAY, 30.0])
async def test_no_delivery_is_given_up_because_the_clock_jumped_and_jumped_back(
    bench: AgingBench, clock: FakeClock, jump: float, lane_first: bool
) -> None:
    bench.sink.answer = FAILS
    await bench.give(3)
    await bench.pass_time(60.0)
    assert await bench.states() == ["queued"] * 3
    for seconds in (jump, -jump):
        clock.jump(seconds)
        bench.sink.answer = Delivered() if seconds == -jump else FAILS
        if lane_first:
            clock.advance(40.0)  # it looks for what has expired each half a minute
            await bench.work()
        await bench.keeper.step()
        clock.advance(40.0)
        await bench.work()
        assert "dead" not in await bench.states()
    await bench.pass_time(LONGEST + 60.0)
    assert await bench.states() == ["delivered"] * 3


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_message_that_arrives_right_after_a_jump_has_its_true_age(
    bench: AgingBench, clock: FakeClock, jump: float
) -> None:
    await bench.keeper.step()
    clock.advance(0.5)
    await bench.accept(1)
    clock.jump(jump)
    bench.sink.answer = FAILS
    await bench.give(3)
    clock.advance(0.3)
    await bench.work()
    await bench.keeper.step()
    bench.sink.answer = Delivered()
    await bench.pass_time(LONGEST + 60.0)
    assert await bench.states() == ["delivered"] * 4


@pytest.mark.parametrize("jump", [DAY, -DAY, 0.0])
async def test_give_up_after_counts_the_time_that_really_passed(bench: AgingBench, clock: FakeClock, jump: float) -> None:
    await bench.lane.pause("ann")
    await bench.accept(1)
    await bench.pass_time(6 * HOUR, 60.0)
    clock.jump(jump)
    await bench.pass_time(6 * HOUR - 120.0, 60.0)
    assert await bench.states() == ["queued"]
    await bench.pass_time(240.0, 60.0)
    assert await bench.rows("state, reason") == [("dead", "expired")]


async def test_a_replay_in_the_middle_keeps_its_fresh_budget(bench: AgingBench, clock: FakeClock) -> None:
    await bench.lane.pause("ann")
    (owed,) = await bench.accept(1)
    await bench.pass_time(13 * HOUR, 60.0)
    assert await bench.states() == ["dead"]
    clock.jump(-DAY)
    await bench.replay(owed)
    await bench.keeper.step()
    await bench.pass_time(12 * HOUR - 120.0, 60.0)
    assert await bench.states() == ["queued"]


# --- a look that fails


async def test_a_jump_that_a_full_disk_kept_from_being_corrected_is_corrected_later(bench: AgingBench, clock: FakeClock) -> None:
    await bench.keeper.step()
    await bench.accept(2, due_in=600.0)
    bench.store.full = True
    clock.jump(-DAY)
    for _ in range(3):
        await bench.keeper.step()
        clock.advance(1.0)
    before = await bench.rows("due_ms")
    assert bench.said("clock.jumped") == 1
    assert rows(bench.store.path, KEPT_TIME) == [(0, round(START * 1000))]
    bench.store.full = False
    await bench.keeper.step()
    assert rows(bench.store.path, KEPT_TIME) == [(round(-DAY * 1000), round(clock.now() * 1000))]
    assert bench.said("clock.jumped") == 1 and before == await bench.rows("due_ms")
    await bench.pass_time(1.1 * HOUR + 20)
    assert await bench.states() == ["delivered"] * 2


async def test_nothing_is_given_up_before_a_jump_ahead_is_corrected_and_it_is_corrected_once(
    bench: AgingBench, clock: FakeClock
) -> None:
    await bench.lane.pause("ann")
    await bench.keeper.step()
    await bench.accept(1)
    ((since,),) = await bench.rows("since_ms")
    clock.advance(1.0)
    await bench.keeper.step()
    bench.store.full = True
    clock.jump(DAY)
    for _ in range(5):
        clock.advance(40.0)
        await bench.keeper.step()
        await bench.work()
    assert await bench.states() == ["queued"]
    bench.store.full = False
    for _ in range(3):
        await bench.keeper.step()
        clock.advance(1.0)
    assert await bench.rows("state, since_ms") == [("queued", since)]
    assert one(bench.store.path, "SELECT jumped_ms FROM timeline") == round(DAY * 1000)


# --- what is old


@pytest.mark.parametrize("back", [True, False])
async def test_after_a_jump_ahead_nothing_is_purged_for_an_hour(bench: AgingBench, clock: FakeClock, back: bool) -> None:
    await bench.give(3)
    await bench.pass_time(120.0)
    assert await bench.states() == ["delivered"] * 3
    clock.jump(91 * DAY)
    await bench.pass_time(HOUR - 120.0)
    assert len(await bench.states()) == 3
    if back:
        clock.jump(-91 * DAY)
    await bench.pass_time(400.0)
    assert len(await bench.states()) == (3 if back else 0)  # a clock that stays ahead was corrected: it was wrong before


async def test_a_jump_between_the_look_at_the_clock_and_the_purge_deletes_nothing(bench: AgingBench, clock: FakeClock) -> None:
    await bench.give(1)
    await bench.pass_time(30.0)
    check, jumped = bench.invariants.step, []

    async def check_and_jump() -> None:
        await check()
        jumped.append(True)
        clock.jump(91 * DAY)

    clock.advance(60.0)
    bench.invariants.step = check_and_jump  # type: ignore[method-assign]
    await bench.keeper.step()
    assert jumped and len(await bench.states()) == 1


# --- a sink that is away


async def test_deliveries_to_a_missing_sink_do_not_age_until_its_name_is_back(bench: AgingBench, clock: FakeClock) -> None:
    await bench.lane.pause("ann")
    await bench.accept(1)
    await bench.pass_time(6 * HOUR, 60.0)
    await note(bench.store, (), clock)
    clock.advance(30 * DAY)
    await note(bench.store, (), clock)  # another start without it
    clock.advance(30 * DAY)
    await note(bench.store, ("erp",), clock)
    await bench.pass_time(6 * HOUR - 120.0, 60.0)
    assert await bench.states() == ["queued"]
    await bench.pass_time(240.0, 60.0)
    assert await bench.rows("state, reason") == [("dead", "expired")]


async def note(store: SqliteStore, present: tuple[str, ...], clock: FakeClock) -> None:
    """Note which sinks are present, as a start does."""
    await store.sync_sinks(present, (), clock.now())


# --- the clock itself


def test_the_clock_by_which_deliveries_age_is_the_wall_clock_until_that_jumps(clock: FakeClock) -> None:
    aging = LaneClock(clock)
    for _ in range(10):
        clock.advance(100.0)
        clock.jump(0.05)
        assert aging.now() == clock.now()
    clock.jump(DAY)
    assert aging.now() == pytest.approx(clock.now() - DAY, abs=1.0)
    clock.jump(-2 * DAY)
    assert aging.now() == pytest.approx(clock.now() + DAY, abs=1.0)
    assert aging.follow() == pytest.approx(-DAY, abs=1.0)
    clock.jump(DAY)
    assert aging.follow() == DAY
    assert aging.now() == clock.now()


# --- the whole gateway


class Jumpy(Clock):
    """The clock of this host, and the seconds that an administrator adds to it."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_gateway_gives_nothing_up_while_its_host_has_a_wrong_date_for_some_seconds(tmp_path: Path, jump: float) -> None:
    """Each delivery is tried ten times a second, and would be given up by the next try after the jump."""
    with Receiver() as receiver:
        receiver.always = (500, {})
        schedule = ", ".join(['"0s"', *['"100ms"'] * 400])
        more = f'retry = [{schedule}]\ngive_up_after = "12h"\nbreaker = {{ failures = 100000, probe = "1s" }}'
        running = Running(tmp_path, http_sink(receiver, more=more) + route("erp"))
        log, clock = structlog.testing.CapturingLogger(), Jumpy()
        environment = Environment(running.secrets)
        config = load(running.config, environment)
        gateway = Gateway(config, clock=clock, log=structlog.wrap_logger(log, processors=[]), environment=environment)

        def said(word: str) -> list[dict[str, Any]]:
            return [call.kwargs for call in log.calls if call.kwargs.get("event") == word]

        async def jumped(seconds: float) -> None:
            seen = len(said("clock.jumped"))
            clock.ahead += seconds
            await until(lambda: len(said("clock.jumped")) > seen)

        serving = asyncio.create_task(gateway.run())
        try:
            await until(lambda: said("gateway.started") or serving.done())
            for line in said("gateway.listening"):
                host, _, port = line["address"].rpartition(":")
                running.addresses[line["what"]] = (host, int(port))
            for _ in range(10):
                assert (await running.post(event())).status == 200
            await until(lambda: len(receiver.requests) > 30)
            await jumped(jump)
            await jumped(-jump)
            tried = len(receiver.requests)
            await until(lambda: len(receiver.requests) > tried + 10 or jump > 0)
            assert running.rows("SELECT count(*) FROM deliveries WHERE state = 'dead'") == [(0,)]
        finally:
            gateway.stop()
            await asyncio.wait_for(serving, PATIENCE)
        assert running.audit("delivery.dead") == []
