"""The worker of one sink: claim, send, settle. One sink's trouble stays in its lane.

Fresh deliveries come from memory (`offer`, bounded); the store is asked only when it may hold due ones that memory does
not: at start, after an overflow, and when a retry comes due. While it does, memory is not used: oldest first.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.core.audit_events import SinkPaused, SinkResumed
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Attempt, Owed, SinkState
from gateway.core.retry import RetryPolicy
from gateway.core.values import claim_of
from gateway.delivery.attempt import Attempts, Failure, LaneSettings, LaneWorld, Settled
from gateway.delivery.gates import UNTIL_WOKEN, Gates
from gateway.sinks.base import Outgoing, Sink
from gateway.store.sqlite import reads

_MOST_READY = 256
_MOST_HELD = 8 * 1024 * 1024
"""Bytes, those in flight included; beyond that fresh deliveries stay in the store until they are claimed."""
_CLAIM = 64
"""Deliveries read from the store at once; they wait in memory, and count as in flight only when they are sent."""
_TROUBLE_SECONDS = 1.0
"""Between two tries while the database or the audit log takes nothing."""
_MEMORY_SECONDS = 0.25
"""Seconds from one look for memory to the next, while other lanes hold it."""
EXPIRY_SECONDS = 30.0
"""Between two looks for deliveries to give up, at most; they are given up while the lane is closed, too."""


class Lane:
    def __init__(self, name: str, sink: Sink, settings: LaneSettings, gates: Gates, world: LaneWorld) -> None:
        self.name = name
        self.gates = gates
        self._attempts = Attempts(name, sink, gates, world)
        self._settings = settings
        self._world = world
        self._store, self._clock = world.store, world.clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._absent = False
        """Its sink left the configuration: what waits, waits for the name to be back."""
        self._ready: deque[Owed] = deque()
        self._memory = world.memory.account()
        """Holds what is in `_ready` and in flight, and the room for a claim that runs."""
        self._backlog = True
        """The store may hold due deliveries that are not in `_ready`."""
        self._seen_to = 0
        """The newest message that a claim has seen: the store shows a commit to readers before the loop hears of it, so what was
        claimed, and perhaps delivered, may be offered after that."""
        self._changed = 0
        """Counts the times that what is in the store was changed by others: what was read before is worth nothing then."""
        self._next_due: float | None = None
        """When the store will next have a due one that it does not have now, as far as is known."""
        self._in_flight: dict[int, Owed] = {}
        """The deliveries in flight by the seq of their message, oldest first."""
        self.rounds = 0
        """Steps made: while the lane is `at_work`, another one begins at least every `EXPIRY_SECONDS`."""
        self._look_for_expired_at = 0.0
        self.timeout = settings.timeout
        """Seconds after which every attempt in flight has come to its end: those of the settings that it began with."""

    @property
    def last_error(self) -> str | None:
        """The error of the last attempt; None if it did not fail."""
        return self._attempts.last_error

    @property
    def last_failure(self) -> Failure | None:
        """The last attempt since the start that failed, whatever came after it."""
        return self._attempts.last_failure

    @property
    def policy(self) -> RetryPolicy:
        return self._settings.policy

    @property
    def idle(self) -> bool:
        """Nothing is in flight and nothing holds it back, not even a rate: whatever is due should be on its way."""
        return not self._in_flight and self._open_for_all() and not self.gates.has_rate

    @property
    def at_work(self) -> bool:
        """It goes round, and every attempt comes to its end: neither the store nor the audit log is in trouble."""
        return self._may_work()

    @property
    def oldest_in_flight(self) -> Owed | None:
        return next(iter(self._in_flight.values()), None)

    @property
    def by_sr(self) -> bool:
        return self._settings.by_sr

    def offer(self, owed: Owed, due: float) -> None:
        """Hand over a delivery that was just committed; it is only a hint, the store has it."""
        if owed.seq <= self._seen_to:
            return  # a claim has it, or will
        if due > self._clock.now():
            self._expect(due)
        elif self._backlog and not self.gates.breaker.is_open:
            return  # the lane asks the store as soon as it has a slot; to wake it for each message would cost ingest
        elif not self._backlog:
            if len(self._ready) >= _MOST_READY or not self._memory.has_room_for(owed.size, _MOST_HELD) or self._settings.by_sr:
                self._backlog = True
            else:
                self._ready.append(owed)
                self._memory.take(owed.size)
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`, then wait for what is in flight. Cancelled, it cuts that, and no attempt is lost."""
        try:
            async with asyncio.TaskGroup() as sends:
                while not self._stopping:
                    self._wake.clear()
                    pause = await self.step(sends)
                    if pause != 0:
                        await self._clock.wait(self._wake, self._rest(pause))
        finally:
            await self._attempts.aclose()

    async def step(self, sends: asyncio.TaskGroup) -> float | None:
        """Start as many attempts as the gates and slots allow; the seconds until there may be more, None: until woken."""
        self.rounds += 1
        if self._absent:
            return None
        if self._in_trouble():
            return _TROUBLE_SECONDS
        try:
            await self._give_up_expired()
            if (closed := self.gates.closed_for()) > 0:
                return None if closed == UNTIL_WOKEN else closed
            return await (self._probe(sends) if self.gates.breaker.is_open else self._start_ready(sends))
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            self._look_for_expired_at = max(self._look_for_expired_at, self._clock.monotonic() + _TROUBLE_SECONDS)
            return _TROUBLE_SECONDS

    def change(self, settings: LaneSettings, breaker: BreakerPolicy, rate: float | None, sink: Sink) -> Sink | None:
        """Go on with other settings and another sink; what is in flight, and what waits, ends as it began.

        Returns the sink that nobody uses any more, to be closed; None where its last attempt will do that.
        """
        self._settings = settings
        self.timeout = max(settings.timeout, self.timeout if self._in_flight else 0.0)
        self.gates.change(breaker, rate)
        if self._absent:
            self._absent = False
            self.gates.clock_jumped()  # it may have, and nobody told a lane that had left
        self._look_for_expired_at = 0.0
        self.refresh()
        return self._attempts.use(sink)

    def leave(self) -> Sink | None:
        """Its sink left the configuration: claim nothing until `change` brings one. What is in flight comes to its end.

        Returns what `change` returns.
        """
        self._absent = True
        self.refresh()
        return self._attempts.use(None)

    def stop(self) -> None:
        """Claim nothing any more; `run` ends when what is in flight is settled."""
        self._stopping = True
        self._wake.set()

    def refresh(self) -> None:
        """Read the store anew: a person changed what is in it."""
        self._changed += 1
        self._forget()
        self._wake.set()

    async def drill(self, delivery: Outgoing) -> Attempt:
        """Send what nobody is owed, whatever the gates and slots say."""
        return await self._attempts.drill(delivery, self._settings.timeout)

    def clock_jumped(self) -> None:
        """The wall clock went another way than time: every instant in memory is worth nothing."""
        self.gates.clock_jumped()
        self._next_due = None
        self.refresh()

    async def pause(self, actor: str) -> bool:
        """Hold all deliveries until `resume`, across restarts too; False where that is so already."""
        before = self.gates.state
        return self.gates.pause(actor) and await self._keep_pause(SinkPaused, before, actor)

    async def resume(self, actor: str) -> bool:
        """Go on; False where the lane was not paused."""
        before = self.gates.state
        return self.gates.resume() and await self._keep_pause(SinkResumed, before, actor)

    async def _keep_pause(self, event: type[SinkPaused | SinkResumed], before: SinkState, actor: str) -> bool:
        """What a person did holds in memory and in the store, or in neither."""
        try:
            await self._store.keep_sink(self.name, self.gates.state)
        except StoreError:
            self.gates.restore_pause(before)
            raise
        self._world.audit.step(event(sink=self.name, actor=str(actor), claimed=claim_of(actor)))
        if not self._absent:
            self._world.metrics.gate(self.name, "paused", closed=self.gates.paused)
        self.refresh()
        return True

    async def _start_ready(self, sends: asyncio.TaskGroup) -> float | None:
        now = self._clock.now()
        if self._next_due is not None and self._next_due <= now:
            self._next_due = None
            self._forget()
        if self._backlog and not self._ready and self._free():
            if self._memory.held and not self._memory.room:
                return _MEMORY_SECONDS
            await self._refill(now)
        wait = self._start_claimed(sends)
        if self._settings.by_sr and self._ready:
            self._forget()  # an earlier event of its service request may come before it can go
        if wait is not None:
            return wait
        if self._backlog and self._free():
            return 0.0
        return None if self._next_due is None else max(self._next_due - now, 0.001)

    def _start_claimed(self, sends: asyncio.TaskGroup) -> float | None:
        """Start what is in memory, as far as it may go; the seconds until more of it may, None where no gate is in the way."""
        while self._ready and self._free():
            if not self._open_for_all():
                return 0.0  # a gate closed while the claim ran
            if (wait := self.gates.take()) > 0:
                return wait
            self._start(self._ready.popleft(), sends)
        return None

    async def _refill(self, now: float) -> None:
        # Deliveries offered while the claim runs gather in `_ready`: they may or may not be in its snapshot.
        changed = self._changed
        self._backlog = False
        self._next_due = None
        # In the order of service requests nothing waits in memory: what can't go at once would be read in vain.
        limit = self._settings.concurrency - len(self._in_flight) if self._settings.by_sr else _CLAIM
        room = min(self._memory.room, reads.MOST_CLAIMED_BYTES)
        self._memory.take(room)
        try:
            busy = frozenset(self._in_flight)
            claim = await self._store.claim(self.name, now, limit, busy, by_sr=self._settings.by_sr, room=room)
        except BaseException:
            self._backlog = True
            raise
        finally:
            self._memory.give(room)
        self._seen_to = max(self._seen_to, claim.seen_to)
        if changed != self._changed:
            return
        offered = [] if claim.more else [owed for owed in self._ready if owed.seq > claim.seen_to]
        self._memory.give(sum(owed.size for owed in self._ready))
        self._ready = deque([*claim.owed, *offered])
        self._memory.take(sum(owed.size for owed in self._ready))
        self._backlog = self._backlog or claim.more
        if claim.next_due is not None:
            self._expect(claim.next_due)

    async def _probe(self, sends: asyncio.TaskGroup) -> float | None:
        """One attempt to see whether the sink is back. The next takes another delivery: one that failed is due again only then,
        after all that wait already, so that a poisoned one can't keep the breaker open."""
        if self._in_flight:
            return None
        now, changed = self._clock.now(), self._changed
        claim = await self._store.claim(self.name, now, 1, frozenset(), by_sr=self._settings.by_sr)
        if changed != self._changed or not self._may_work() or self.gates.closed_for() > 0:
            return 0.0
        if not claim.owed:
            return None if claim.next_due is None else max(claim.next_due - now, 0.001)
        if (wait := self.gates.take()) > 0:
            return wait
        self._start(claim.owed[0], sends, probe=True)
        return None

    async def _give_up_expired(self) -> None:
        if self._clock.monotonic() < self._look_for_expired_at:
            return
        policy, limit = self._settings.policy, 100
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

    def _forget(self) -> None:
        """Drop what is in memory: the store has it too, and will give it back in its order."""
        self._memory.give(sum(owed.size for owed in self._ready))
        self._ready.clear()
        self._backlog = True

    def _in_trouble(self) -> bool:
        """What is sent now could be neither committed nor told, and would be sent again after a crash."""
        return self._world.audit.failing or self._store.trouble is not None

    def _may_work(self) -> bool:
        return not self._stopping and not self._absent and not self._in_trouble()

    def _open_for_all(self) -> bool:
        return self._may_work() and not self.gates.breaker.is_open and self.gates.closed_for() == 0

    def _free(self) -> bool:
        return len(self._in_flight) < self._settings.concurrency

    def _rest(self, pause: float | None) -> float | None:
        """Seconds to wait at most: there may be deliveries to give up before there is anything to start."""
        if self._absent:
            return None
        look = max(self._look_for_expired_at - self._clock.monotonic(), _TROUBLE_SECONDS if self._in_trouble() else 0.0)
        return look if pause is None else min(pause, look)

    def _expect(self, due: float) -> None:
        self._next_due = due if self._next_due is None else min(self._next_due, due)

    def _start(self, owed: Owed, sends: asyncio.TaskGroup, *, probe: bool = False) -> None:
        if probe:
            self._memory.take(owed.size)
        self._in_flight[owed.seq] = owed
        sends.create_task(self._deliver(owed, probe=probe), name=f"send:{owed.delivery_id}")

    async def _deliver(self, owed: Owed, *, probe: bool) -> None:
        changed = self._changed
        try:
            self._settled(await self._attempts.deliver(owed, self._settings, probe=probe))
        finally:
            self._in_flight.pop(owed.seq, None)
            self._memory.give(owed.size)
            if self._settings.by_sr or changed != self._changed:
                # The next one of its service request may go now; or it was replayed while it counted as in flight.
                self._backlog = True
            self._wake.set()

    def _settled(self, settled: Settled) -> None:
        if settled.due_at is not None:
            self._expect(settled.due_at)
        if settled.opened:
            self.refresh()
