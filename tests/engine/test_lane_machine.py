"""A lane against a model: any sequence of offers, answers, waits, pauses, reloads, discards, replays, cuts and restarts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.breaker import BreakerPolicy
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject
from gateway.core.records import Owed
from gateway.core.retry import RetryPolicy
from gateway.delivery.memory import Memory
from gateway.delivery.world import LaneSettings
from gateway.sinks.base import Outgoing
from tests.engine.bench import FAILS, Bench, TroubledStore, spin, working
from tests.fakes import FakeClock, FakeSink
from tests.support.waiting import PATIENCE

_T = TypeVar("_T")
_POLICY = RetryPolicy(schedule=(0.0, *[5.0, 60.0] * 50))
"""No delivery uses up its attempts."""
_ENDS = {Delivered: "delivered", Reject: "dead"}
_OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [Delivered(200), Delivered(200), Delivered(200), FAILS, Defer(Reason.RATE_LIMITED, 20.0), Reject(Reason.HTTP_STATUS, "", 410)]
)


class AskedSink(FakeSink):
    """A sink that answers a delivery when the machine says so, and checks at each one that it may come now."""

    def __init__(self, machine: LaneMachine) -> None:
        super().__init__()
        self.machine = machine
        self.asked: dict[str, asyncio.Future[Outcome]] = {}
        """The deliveries that wait for an answer."""

    async def send(self, delivery: Outgoing) -> Outcome:
        self.machine.check(delivery)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.asked[delivery.delivery_id] = answer
        try:
            return await answer
        finally:
            del self.asked[delivery.delivery_id]


class LaneMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-lane-"))
        self.loop = asyncio.new_event_loop()
        self.parts = AsyncExitStack()
        self.states: dict[str, str] = {}
        """The state of each delivery, once everything is committed."""
        self.owed: dict[str, Owed] = {}
        self.answered: Counter[str] = Counter()
        """How many attempts of each delivery had an outcome."""
        self.attempts = 0
        self.wrong: list[str] = []
        self.concurrency, self.paused, self.absent = 3, False, False
        self.wait_for(self.begin())

    async def begin(self) -> None:
        clock, log = FakeClock(), structlog.testing.CapturingLogger()
        store, audit = await self.parts.enter_async_context(working(TroubledStore, self.folder, clock, log))
        self.bench = Bench(store, audit, clock, log)
        await self.start()

    async def start(self) -> None:
        """Start a lane from what the store holds."""
        self.sink, self.bench.memory = AskedSink(self), Memory()
        self.bench.sink = self.sink
        await self.bench.start(_POLICY, concurrency=self.concurrency)
        self.running = asyncio.create_task(self.bench.lane.run())

    def teardown(self) -> None:
        try:
            if not self.wrong:
                self.wait_for(self.end())
        finally:
            self.running.cancel()
            self.wait_for(asyncio.wait([self.running]))
            self.wait_for(self.parts.aclose())
            self.loop.close()
            shutil.rmtree(self.folder)

    async def end(self) -> None:
        """Let time pass and answer everything: each delivery has to come to its end."""
        if self.absent:
            self.change()
        if self.paused:
            await self.bench.lane.resume("ann")
            self.paused = False
        for _ in range(300):
            await self.peace()
            for delivery in list(self.sink.asked):
                self.answer_one(delivery, Delivered(200))
            await self.peace()
            if "queued" not in self.states.values() and not self.sink.asked:
                break
            self.bench.clock.advance(60.0)
        assert "queued" not in self.states.values()
        assert self.bench.memory.used == 0 and not self.bench.lane.gates.breaker.is_open
        await self.the_store_agrees()

    # --- what may happen

    @rule(number=st.integers(1, 12))
    def offer(self, number: int) -> None:
        async def give() -> None:
            for owed in await self.bench.accept(number):
                self.owed[owed.delivery_id], self.states[owed.delivery_id] = owed, "queued"
                if not self.absent:
                    self.bench.offer(owed)

        self.wait_for(give())

    @precondition(lambda self: self.sink.asked)
    @rule(data=st.data(), outcome=_OUTCOMES)
    def answer(self, data: st.DataObject, outcome: Outcome) -> None:
        self.answer_one(data.draw(st.sampled_from(sorted(self.sink.asked))), outcome)

    @precondition(lambda self: self.sink.asked)
    @rule(outcome=_OUTCOMES)
    def answer_all(self, outcome: Outcome) -> None:
        for delivery in list(self.sink.asked):
            self.answer_one(delivery, outcome)

    def answer_one(self, delivery: str, outcome: Outcome) -> None:
        self.sink.asked[delivery].set_result(outcome)
        self.answered[delivery] += 1
        if self.states[delivery] == "queued":
            self.states[delivery] = _ENDS.get(type(outcome), "queued")

    @rule(seconds=st.sampled_from([1.0, 5.5, 31.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    @rule()
    def pause_or_resume(self) -> None:
        lane = self.bench.lane
        self.paused = not self.paused
        self.wait_for(lane.pause("ann") if self.paused else lane.resume("ann"))

    @precondition(lambda self: not self.absent)
    @rule(concurrency=st.integers(1, 5))
    def reload(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.change()

    @rule()
    def leave_or_come_back(self) -> None:
        if self.absent:
            self.change()
        else:
            self.absent = True
            self.bench.lane.leave()

    def change(self) -> None:
        self.absent = False
        self.bench.lane.change(LaneSettings(_POLICY, self.concurrency, 30.0), BreakerPolicy(3, 30.0), None, self.sink)

    @precondition(lambda self: "queued" in self.states.values())
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        queued = sorted(delivery for delivery, state in self.states.items() if state == "queued")
        delivery = data.draw(st.sampled_from(queued))
        self.wait_for(self.bench.discard(self.owed[delivery]))
        self.states[delivery] = "discarded"
        self.bench.lane.refresh()

    @precondition(lambda self: "dead" in self.states.values())
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(sorted(one for one, state in self.states.items() if state == "dead")))
        self.wait_for(self.bench.replay(self.owed[delivery]))
        self.states[delivery] = "queued"
        self.bench.lane.refresh()

    @rule()
    def cut_and_restart(self) -> None:
        """Attempts without an outcome cost nothing, and are made again."""
        self.running.cancel()
        self.wait_for(asyncio.wait([self.running]))
        assert not self.sink.asked and (self.sink.closed or self.absent)
        self.absent = False
        self.wait_for(self.start())

    # --- what must hold

    def check(self, delivery: Outgoing) -> None:
        """Note everything that is wrong about an attempt that begins now."""
        one, lane, asked = delivery.delivery_id, self.bench.lane, self.sink.asked
        self.attempts += 1
        if one in asked:
            self.wrong.append("it is in flight already")
        if len(asked) >= self.concurrency:
            self.wrong.append(f"{len(asked)} are in flight already")
        if lane.gates.breaker.is_open and asked:
            self.wrong.append("a probe is not alone")
        if lane.gates.closed_for() > 0:
            self.wrong.append("a gate is closed")
        if self.states[one] != "queued":
            self.wrong.append(f"it is {self.states[one]}")
        if delivery.attempt != self.answered[one] + 1:
            self.wrong.append(f"attempt {delivery.attempt} follows {self.answered[one]}")
        if self.absent:
            self.wrong.append("the sink has left")

    @invariant()
    def all_is_well(self) -> None:
        self.wait_for(self.peace())
        self.wait_for(self.the_store_agrees())
        assert self.wrong == []
        assert not self.running.done()
        lane = self.bench.lane
        in_flight = sum(self.owed[one].size for one in self.sink.asked)
        assert self.bench.memory.used == in_flight + sum(owed.size for owed in lane.waiting.ready)

    async def the_store_agrees(self) -> None:
        rows = await self.bench.rows("message, state, attempts, due_ms")
        by_seq = {owed.seq: delivery for delivery, owed in self.owed.items()}
        assert {by_seq[seq]: state for seq, state, _, _ in rows} == self.states
        for seq, state, attempts, due_ms in rows:
            assert state == "discarded" or attempts == self.answered[by_seq[seq]]
            assert state != "queued" or due_ms / 1000 > self.bench.clock.now() or not self.bench.lane.idle, "it is overdue"

    async def peace(self) -> None:
        """Wait until neither the lane nor the store has anything to do."""
        still, seen = 0, (0, 0)
        async with asyncio.timeout(PATIENCE):
            while still < 2:
                await spin()
                before, seen = seen, (self.bench.lane.rounds, self.attempts)
                works = any(at is not None for at in self.bench.store.at_work.values())
                still = 0 if works or seen != before else still + 1

    def wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)


TestLane = LaneMachine.TestCase
TestLane.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # explaining a failure takes longer than reading it
    suppress_health_check=[HealthCheck.too_slow],
)
