"""Deliveries go at their planned times and in their order however the wall clock jumps, and the audit log tells the truth."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.core.records import Attempt, Settlement
from gateway.core.retry import Transition
from gateway.core.values import rfc3339
from gateway.maintenance.audit_catchup import catch_up
from gateway.sinks.base import Outgoing
from tests.engine.aging_bench import SCHEDULE, AgingBench, FullStore, aging
from tests.engine.bench import DAY, FAILS, HOUR, working
from tests.fakes import FakeClock

JUMPS = (30.0, -30.0, HOUR, -HOUR, DAY, -DAY, 30 * DAY, -30 * DAY)
_TICK = 1.0


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[AgingBench]:
    async with aging(tmp_path, clock) as bench:
        yield bench


@pytest.mark.parametrize("seed", range(12))
async def test_no_jump_of_the_clock_delays_a_delivery_changes_the_order_or_raises_an_alarm(
    bench: AgingBench, clock: FakeClock, seed: int
) -> None:
    """Each delivery fails twice, and may go again ten minutes after each failure."""
    chance = random.Random(seed)
    sent: dict[str, list[float]] = {}

    def answer(one: Outgoing) -> Outcome:
        sent.setdefault(one.delivery_id, []).append(clock.passed)
        return FAILS if one.attempt <= 2 else Delivered()

    bench.sink.answer = answer
    given: dict[str, float] = {}
    while clock.passed < 1600.0:
        where = chance.choice(("before the janitor", "before the lane", "before a message")) if chance.random() < 0.01 else ""
        if where == "before the janitor":
            clock.jump(chance.choice(JUMPS))
        await bench.keeper.step()
        if where == "before the lane":
            clock.jump(chance.choice(JUMPS))
        if where == "before a message":
            clock.jump(chance.choice(JUMPS))
        if (where == "before a message" or chance.random() < 0.05) and clock.passed < 300.0:
            given |= {owed.delivery_id: clock.passed for owed in await bench.give(1)}
        await bench.work()
        clock.advance(_TICK)
    assert bench.said("clock.jumped") >= 3 and len(given) >= 5
    assert bench.said("invariant.overdue") == 0
    assert await bench.states() == ["delivered"] * len(given)
    for delivery, at in given.items():
        planned = [at, at + SCHEDULE[1], at + SCHEDULE[1] + SCHEDULE[2]]
        late = [real - due for real, due in zip(sent[delivery], planned, strict=True)]
        assert all(0.0 <= one <= 2 * _TICK for one in late), late
    assert list(sent) == list(given)  # in the order in which they were planned
    assert sorted(given, key=lambda delivery: sent[delivery][-1]) == list(given)


@pytest.mark.parametrize("first", [0.0, DAY, -DAY])
@pytest.mark.parametrize("second", [0.0, HOUR, -DAY])
@pytest.mark.parametrize("down", [0.0, -HOUR])
async def test_an_audit_line_written_after_a_crash_gives_the_next_attempt_by_the_present_clock(
    tmp_path: Path, clock: FakeClock, first: float, second: float, down: float
) -> None:
    """The clock jumps before the attempt, after it, and while the gateway is down. The next attempt is planned 300 s later."""
    log = structlog.testing.CapturingLogger()
    async with working(FullStore, tmp_path, clock, log) as (store, audit):
        store.timeline.begin(clock.now())
        bench = AgingBench(store, audit, clock, log)
        await bench.open()
        await bench.keeper.step()
        clock.jump(first)
        await bench.keeper.step()
        (owed,) = await bench.accept(1)
        tried = Attempt(number=1, started_at=clock.now(), duration_ms=7, outcome=Retry(Reason.DNS))
        again = Transition(state="queued", due_at=clock.now() + 300.0, retries=1, reason=Reason.DNS)
        assert await store.settle(Settlement(owed.seq, "erp", again, clock.now(), tried))
        clock.jump(second)
        await bench.keeper.step()
    clock.advance(60.0)
    clock.jump(down)
    async with working(FullStore, tmp_path, clock, log) as (store, audit):
        store.timeline.begin(clock.now())
        # If a clock went back unseen, the gateway cannot know how much time passed: no attempt is made before its planned time.
        wait = 240.0 if down == 0.0 else 300.0
        claim = await store.claim("erp", clock.now(), 1, frozenset())
        assert claim.next_due == pytest.approx(clock.now() + wait)
        await catch_up(store, audit, audit.path, unclean=True)
        await audit.flush()
        lines = [json.loads(line) for line in audit.path.read_bytes().splitlines()]
        (line,) = [line for line in lines if line["event"] == "delivery.retrying"]
        assert line["next_attempt_at"] == rfc3339(clock.now() + wait)
