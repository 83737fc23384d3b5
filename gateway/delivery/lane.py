"""The worker of one sink: gates, claim, send, settle. One sink's trouble stays in its lane.

`Lane.step` looks at the gates, fills the memory of waiting deliveries by a claim, and starts a worker for each free slot. A
worker makes one attempt after the other (see `attempt`: send, decide, settle, report), as long as memory has a delivery that may
go. Then it ends, and the lane looks at everything again. So a lane under load makes few steps, and an idle one has no worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from gateway.core.audit_events import SinkPaused, SinkProbed, SinkResumed
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Attempt, Claimed, KeptGates, Owed
from gateway.core.retry import RetryPolicy
from gateway.core.values import claim_of
from gateway.delivery.attempt import Attempts, FailedAttempt
from gateway.delivery.gates import UNTIL_WOKEN, Gates
from gateway.delivery.waiting import Waiting
from gateway.delivery.world import TROUBLE_SECONDS, LaneSettings, LaneWorld
from gateway.sinks.base import Outgoing, Sink

_CLAIM = 128
"""Deliveries read from the store at once; they wait in memory, and count as in flight only when they are sent."""
_MEMORY_SECONDS = 0.25
"""Seconds between two looks for memory, while other lanes hold it."""
_GIVEN_UP_AT_ONCE = 100
EXPIRY_SECONDS = 30.0
"""Seconds between two looks for deliveries to give up, at most; a closed lane gives deliveries up, too."""


class Lane:
    def __init__(self, name: str, sink: Sink, settings: LaneSettings, gates: Gates, world: LaneWorld) -> None:
        self.name = name
        self.gates = gates
        self.waiting = Waiting(world.memory.account())
        self._attempts = Attempts(name, sink, gates, world)
        self._settings = settings
        self._world = world
        self._store, self._clock = world.store, world.clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._absent = False
        """The sink left the configuration: its deliveries wait until the name is back."""
        self._in_flight: dict[int, Owed] = {}
        """The deliveries in flight by the seq of their message, oldest first."""
        self.rounds = 0
        """Steps made: while the lane is `at_work`, another one begins at least every `EXPIRY_SECONDS`."""
        self._look_for_expired_at = 0.0
        self._probe_asked = False
        """A person asked for the next probe: it does not wait until a delivery is due."""
        self.timeout = settings.timeout
        """Seconds after which every attempt in flight has ended, whatever settings it began with."""

    @property
    def last_error(self) -> str | None:
        """The error of the last attempt; None if it did not fail."""
        return self._attempts.last_error

    @property
    def last_failure(self) -> FailedAttempt | None:
        """The last attempt since the start that failed, whatever came after it."""
        return self._attempts.last_failure

    @property
    def policy(self) -> RetryPolicy:
        return self._settings.policy

    @property
    def idle(self) -> bool:
        """Nothing is in flight and nothing holds the lane back, not even a rate: whatever is due should be on its way."""
        return not self._in_flight and self._open_for_all() and not self.gates.has_rate

    @property
    def at_work(self) -> bool:
        """The lane makes steps, and every attempt ends: neither the store nor the audit log is in trouble."""
        return self._may_work()

    @property
    def oldest_in_flight(self) -> Owed | None:
        return next(iter(self._in_flight.values()), None)

    @property
    def by_sr(self) -> bool:
        return self._settings.by_sr

    def offer(self, owed: Owed, due: float) -> None:
        """Hand over a delivery that was just committed. It is only a hint: the store has the delivery."""
        waiting = self.waiting
        if owed.seq <= waiting.seen_to:
            return  # a claim has it, or will
        if due > self._clock.now():
            waiting.expect(due)
        elif not waiting.backlog:
            waiting.add(owed, in_order=self._settings.by_sr)
            if not self._free():
                return  # the worker that frees a slot takes it
        elif not self.gates.breaker.is_open:
            return  # the lane asks the store as soon as it has a slot; to wake it for each message would cost ingest
        self._wake.set()

    def expect(self, due: float) -> None:
        """Take note that a delivery in the store is due at an instant, earlier than the lane knows."""
        self.waiting.expect(due)
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`, then wait for what is in flight. A cancellation cuts that short, and no attempt is lost."""
        try:
            async with asyncio.TaskGroup() as workers:
                while not self._stopping:
                    self._wake.clear()
                    pause = await self.step(workers)
                    if pause != 0:
                        await self._clock.wait(self._wake, self.rest(pause))
        finally:
            await self._attempts.end()

    async def step(self, workers: asyncio.TaskGroup) -> float | None:
        """Start as many attempts as gates and slots allow. Returns the seconds until there may be more; None: until woken."""
        self.rounds += 1
        if self._absent:
            return None
        if self._in_trouble():
            return TROUBLE_SECONDS
        try:
            await self._give_up_expired()
            if (closed := self.gates.closed_for()) > 0:
                return None if closed == UNTIL_WOKEN else closed
            return await (self._probe(workers) if self.gates.breaker.is_open else self._start_ready(workers))
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            self._look_for_expired_at = max(self._look_for_expired_at, self._clock.monotonic() + TROUBLE_SECONDS)
            return TROUBLE_SECONDS

    def change(self, settings: LaneSettings, breaker: BreakerPolicy, rate: float | None, sink: Sink) -> Sink | None:
        """Go on with other settings and another sink. Attempts in flight, and waits, end as they began.

        Returns the sink that nobody uses any more, to be closed; None if its last attempt will close it.
        """
        self._settings = settings
        self.timeout = max(settings.timeout, self.timeout if self._in_flight else 0.0)
        self.gates.change(breaker, rate)
        if self._absent:
            self._absent = False
            self.gates.clock_jumped()  # it may have jumped meanwhile: a lane that has left is not told
        self._look_for_expired_at = 0.0
        self.refresh()
        return self._attempts.slot.use(sink)

    def leave(self) -> Sink | None:
        """Claim nothing until `change` brings a sink: this one left the configuration. Attempts in flight come to their end.

        Returns what `change` returns.
        """
        self._absent = True
        self.refresh()
        return self._attempts.slot.use(None)

    def stop(self) -> None:
        """Claim nothing any more; `run` ends when what is in flight is settled."""
        self._stopping = True
        self._wake.set()

    def refresh(self) -> None:
        """Read the store again, because another part of the gateway changed it."""
        self.waiting.changed()
        self._wake.set()

    async def drill(self, delivery: Outgoing) -> Attempt:
        """Send a test message, whatever the gates and slots say."""
        return await self._attempts.drill(delivery, self._settings.timeout)

    def clock_jumped(self) -> None:
        """Forget every instant in memory: the wall clock jumped, so none of them can be trusted."""
        self.gates.clock_jumped()
        self.waiting.next_due = None
        self.refresh()

    async def pause(self, actor: str) -> bool:
        """Hold all deliveries until `resume`, across restarts too; False if the lane was paused already. Raises StoreError."""
        before = self.gates.state
        return self.gates.pause(actor) and await self._keep_pause(SinkPaused, before, actor)

    async def resume(self, actor: str) -> bool:
        """Go on; False if the lane was not paused. Raises StoreError."""
        before = self.gates.state
        return self.gates.resume() and await self._keep_pause(SinkResumed, before, actor)

    def probe_now(self, actor: str) -> bool:
        """Make the next probe due at once, at a person's word; False if the breaker is closed, so that there is none.

        If no delivery is due, it takes the one that is due first. A restart forgets it, and waits as the breaker says.
        """
        if not self.gates.probe_now():
            return False
        self._probe_asked = True
        self._world.audit.step(SinkProbed(sink=self.name, actor=str(actor), claimed=claim_of(actor)))
        self._wake.set()
        return True

    async def _keep_pause(self, event: type[SinkPaused | SinkResumed], before: KeptGates, actor: str) -> bool:
        """Keep what a person did in memory and in the store, or in neither."""
        try:
            await self._store.keep_gates(self.name, self.gates.state)
        except StoreError:
            self.gates.restore_pause(before)
            raise
        self._world.audit.step(event(sink=self.name, actor=str(actor), claimed=claim_of(actor)))
        if not self._absent:
            self._world.metrics.gate(self.name, "paused", closed=self.gates.paused)
        self.refresh()
        return True

    async def _start_ready(self, workers: asyncio.TaskGroup) -> float | None:
        """Claim deliveries if memory has none, and start as many as may go. Returns what `step` returns."""
        waiting, now = self.waiting, self._clock.now()
        if waiting.is_due(now):
            waiting.next_due = None
            waiting.forget()
        if waiting.backlog and not waiting.ready and self._free():
            if waiting.memory.held and not waiting.memory.room:
                return _MEMORY_SECONDS
            await waiting.refill(lambda room: self._claim(now, room))
        wait = self._start_waiting(workers)
        if self._settings.by_sr and waiting.ready:
            waiting.forget()  # an earlier event of the same service request may come before these can go
        if wait is not None:
            return wait
        if waiting.backlog and self._free():
            return 0.0
        return None if waiting.next_due is None else max(waiting.next_due - now, 0.001)

    def _claim(self, now: float, room: int) -> Awaitable[Claimed]:
        # In the order of service requests nothing waits in memory, so a delivery that can't go at once need not be read.
        by_sr = self._settings.by_sr
        limit = self._settings.concurrency - len(self._in_flight) if by_sr else _CLAIM
        return self._store.claim(self.name, now, limit, frozenset(self._in_flight), by_sr=by_sr, room=room)

    def _start_waiting(self, workers: asyncio.TaskGroup) -> float | None:
        """Start the deliveries in memory, as far as they may go.

        Returns the seconds until more of them may; None if no gate is in the way.
        """
        while self.waiting.ready and self._free():
            if not self._open_for_all():
                return 0.0  # a gate closed while the claim ran
            if (wait := self.gates.take()) > 0:
                return wait
            self._start(self.waiting.ready.popleft(), workers)
        return None

    async def _probe(self, workers: asyncio.TaskGroup) -> float | None:
        """Make one attempt to see whether the sink is back. Returns what `step` returns.

        The next probe takes another delivery, because one that failed comes due after all that wait already. So a delivery that
        always fails cannot keep the breaker open.
        """
        if self._in_flight:
            return None
        now, changes = self._clock.now(), self.waiting.changes
        claim = await self._store.claim(self.name, now, 1, frozenset(), by_sr=self._settings.by_sr)
        if self._probe_asked and not claim.owed and claim.next_due is not None:
            claim = await self._store.claim(self.name, claim.next_due, 1, frozenset(), by_sr=self._settings.by_sr)
        if changes != self.waiting.changes or not self._may_work() or self.gates.closed_for() > 0:
            return 0.0
        if not claim.owed:
            return None if claim.next_due is None else max(claim.next_due - now, 0.001)
        if (wait := self.gates.take()) > 0:
            return wait
        self._probe_asked = False
        self._start(claim.owed[0], workers, probe=True)
        return None

    async def _give_up_expired(self) -> None:
        """End the deliveries that are older than `give_up_after`, now and then."""
        if self._clock.monotonic() < self._look_for_expired_at:
            return
        policy, limit = self._settings.policy, _GIVEN_UP_AT_ONCE
        before = self._clock.now() - policy.give_up_after
        busy = frozenset(self._in_flight)
        late = await self._store.expired(self.name, before, limit, busy)
        if self._absent:
            return
        if late:
            self.refresh()
            self._in_flight |= {owed.seq: owed for owed in late}
            try:
                await asyncio.gather(*(self._attempts.give_up(owed) for owed in late))
            finally:
                for owed in late:
                    self._in_flight.pop(owed.seq, None)
        if len(late) < limit:
            wait = min(EXPIRY_SECONDS, max(policy.give_up_after / 10, 0.1))
            self._look_for_expired_at = self._clock.monotonic() + wait

    def _in_trouble(self) -> bool:
        """An attempt made now could be neither committed nor audited, and would be made again after a crash."""
        return self._world.audit.failing or self._store.trouble is not None

    def _may_work(self) -> bool:
        return not self._stopping and not self._absent and not self._in_trouble()

    def _open_for_all(self) -> bool:
        return self._may_work() and self.gates.open_for_all

    def _free(self) -> bool:
        return len(self._in_flight) < self._settings.concurrency

    def rest(self, pause: float | None) -> float | None:
        """Shorten a pause to the seconds after which there may be deliveries to give up; None: until woken."""
        if self._absent:
            return None
        look = max(self._look_for_expired_at - self._clock.monotonic(), TROUBLE_SECONDS if self._in_trouble() else 0.0)
        return look if pause is None else min(pause, look)

    def _start(self, owed: Owed, workers: asyncio.TaskGroup, *, probe: bool = False) -> None:
        if probe:
            self.waiting.memory.take(owed.size)
        self._in_flight[owed.seq] = owed
        workers.create_task(self._work(owed, self._clock.now(), probe=probe), name=f"worker:{self.name}")

    async def _work(self, owed: Owed, now: float, *, probe: bool) -> None:
        """Make an attempt, and then others as long as a delivery waits in memory and may go.

        Args:
            now: when the delivery was taken. The wall clock may have jumped since then, and the delivery does not know.
        """
        try:
            await self._deliver(owed, now, probe=probe)
            while (following := self._next()) is not None:
                self._in_flight[following.seq] = following
                await self._deliver(following, self._clock.now(), probe=False)
        finally:
            self._wake.set()

    def _next(self) -> Owed | None:
        """Take the next delivery out of memory; None if there is none, or if the lane has to see to something before it."""
        waiting = self.waiting
        if not waiting.ready or not self._free() or not self._open_for_all() or waiting.is_due(self._clock.now()):
            return None
        return waiting.ready.popleft() if self.gates.take() == 0 else None

    async def _deliver(self, owed: Owed, now: float, *, probe: bool) -> None:
        changes = self.waiting.changes
        try:
            settled = await self._attempts.deliver(owed, self._settings, now, probe=probe)
            if settled.due_at is not None:
                self.waiting.expect(settled.due_at)
            if settled.parted:
                self.waiting.expect(self._clock.now())
            if settled.opened:
                self.refresh()
        finally:
            self._in_flight.pop(owed.seq, None)
            self.waiting.memory.give(owed.size)
            if self._settings.by_sr or changes != self.waiting.changes:
                # The next delivery of its service request may go now; or this one was replayed while it was in flight.
                self.waiting.backlog = True
