"""The worker of one sink: claim, send, settle. One sink's trouble stays in its lane.

Fresh deliveries come from memory (`offer`, bounded); the store is asked only when it may hold due ones that memory does
not: at start, after an overflow, and when a retry comes due. While it does, memory is not used: oldest first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from msgspec import Struct

from gateway.clock import Clock
from gateway.core import events
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, hold, postponed
from gateway.engine.audit import AuditLog
from gateway.engine.gates import UNTIL_WOKEN, Change, Gates
from gateway.engine.notices import Notices
from gateway.engine.report import report
from gateway.sinks.base import Outgoing, Sink
from gateway.store import reads
from gateway.store.records import Attempt, Owed, Settlement, SinkState
from gateway.store.sqlite import Store
from gateway.telemetry import Log, Metrics

_MOST_READY = 256
_MOST_READY_BYTES = 8 * 1024 * 1024
_CLAIM = 64
"""Deliveries read from the store at once; they wait in memory, and count as in flight only when they are sent."""
_TROUBLE_SECONDS = 1.0
"""Between two tries while the database or the audit log takes nothing."""
_EXPIRY_SECONDS = 30.0
"""Between two looks for deliveries to give up, at most; they are given up while the lane is closed, too."""


class LaneSettings(Struct, frozen=True):
    policy: RetryPolicy
    concurrency: int
    """A slot is held from claim until the outcome is committed: so many deliveries a crash can repeat."""
    timeout: float
    """Seconds for one attempt."""
    by_sr: bool = False
    """`ordering = "sr"`: only the first open delivery of each service request may be claimed."""


@dataclass(frozen=True)
class LaneWorld:
    """What all lanes share."""

    store: Store
    audit: AuditLog
    notices: Notices
    metrics: Metrics
    clock: Clock
    log: Log


class Lane:
    def __init__(self, name: str, sink: Sink, settings: LaneSettings, gates: Gates, world: LaneWorld) -> None:
        self.name = name
        self.gates = gates
        self.last_error: str | None = None
        """Of the last attempt that failed, until one succeeds."""
        self._sink = sink
        self._settings = settings
        self._world = world
        self._store, self._clock = world.store, world.clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._ready: deque[Owed] = deque()
        self._ready_bytes = 0
        self._backlog = True
        """The store may hold due deliveries that are not in `_ready`."""
        self._seen_to = 0
        """The newest message that a claim has seen: the store shows a commit to readers before the loop hears of it, so what was
        claimed, and perhaps delivered, may be offered after that."""
        self._changed = 0
        """Counts the times that what is in the store was changed by others: what was read before is worth nothing then."""
        self._next_due: float | None = None
        """When the store will next have a due one that it does not have now, as far as is known."""
        self._in_flight: set[int] = set()
        self._probed: int | None = None
        """The message of the last probe: the next one takes another, so that a poisoned one can't keep the breaker open."""
        self._look_for_expired_at = 0.0

    @property
    def policy(self) -> RetryPolicy:
        return self._settings.policy

    @property
    def idle(self) -> bool:
        """Nothing is in flight and nothing holds it back, not even a rate: whatever is due should be on its way."""
        return not self._in_flight and self._open_for_all() and not self.gates.has_rate and not self._world.audit.failing

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
            full = len(self._ready) >= _MOST_READY or self._ready_bytes + len(owed.message.body) > _MOST_READY_BYTES
            if full or self._settings.by_sr:
                self._backlog = True
            else:
                self._ready.append(owed)
                self._ready_bytes += len(owed.message.body)
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`, then wait for what is in flight. Cancelled, it cuts that, and no attempt is lost."""
        try:
            async with asyncio.TaskGroup() as sends:
                while not self._stopping:
                    self._wake.clear()
                    pause = await self.step(sends)
                    if pause != 0:
                        look = max(self._look_for_expired_at - self._clock.monotonic(), 0.0)
                        await self._clock.wait(self._wake, look if pause is None else min(pause, look))
        finally:
            await self._sink.aclose()

    async def step(self, sends: asyncio.TaskGroup) -> float | None:
        """Start as many attempts as the gates and slots allow; the seconds until there may be more, None: until woken."""
        if self._world.audit.failing:
            return _TROUBLE_SECONDS
        try:
            await self._give_up_expired()
            if (closed := self.gates.closed_for()) > 0:
                return None if closed == UNTIL_WOKEN else closed
            return await (self._probe(sends) if self.gates.breaker.is_open else self._start_ready(sends))
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            return _TROUBLE_SECONDS

    def stop(self) -> None:
        """Claim nothing any more; `run` ends when what is in flight is settled."""
        self._stopping = True
        self._wake.set()

    def refresh(self) -> None:
        """Read the store anew: a person changed what is in it."""
        self._changed += 1
        self._forget()
        self._wake.set()

    def clock_jumped(self) -> None:
        """The wall clock went another way than time: every instant in memory is worth nothing."""
        self.gates.clock_jumped()
        self._next_due = None
        self.refresh()

    async def pause(self, actor: str) -> bool:
        """Hold all deliveries until `resume`, across restarts too; False where that is so already."""
        before = self.gates.state
        if not self.gates.pause(actor):
            return False
        await self._keep_or_restore(before)
        self._world.audit.step("sink.paused", sink=self.name, actor=actor)
        self._world.metrics.gate(self.name, "paused", closed=True)
        self.refresh()
        return True

    async def resume(self, actor: str) -> bool:
        """Go on; False where the lane was not paused."""
        before = self.gates.state
        if not self.gates.resume():
            return False
        await self._keep_or_restore(before)
        self._world.audit.step("sink.resumed", sink=self.name, actor=actor)
        self._world.metrics.gate(self.name, "paused", closed=False)
        self.refresh()
        return True

    async def _keep_or_restore(self, before: SinkState) -> None:
        """What a person did holds in memory and in the store, or in neither."""
        try:
            await self._store.keep_sink(self.name, self.gates.state)
        except StoreError:
            self.gates.restore(before)
            raise

    async def _start_ready(self, sends: asyncio.TaskGroup) -> float | None:
        now = self._clock.now()
        if self._next_due is not None and self._next_due <= now:
            self._next_due = None
            self._forget()
        if self._backlog and not self._ready and self._free():
            await self._refill(now)
        while self._ready and self._free():
            if not self._open_for_all():
                return 0.0  # a gate closed while the claim ran
            if (wait := self.gates.take()) > 0:
                return wait
            self._start(self._ready.popleft(), sends)
        if self._backlog and self._free():
            return 0.0
        return None if self._next_due is None else max(self._next_due - now, 0.001)

    async def _refill(self, now: float) -> None:
        # Deliveries offered while the claim runs gather in `_ready`: they may or may not be in its snapshot.
        changed = self._changed
        self._backlog = False
        self._next_due = None
        # In the order of a service request only what goes at once is claimed: an earlier event may come meanwhile.
        free = 1 if self.gates.has_rate else self._settings.concurrency - len(self._in_flight)
        limit = free if self._settings.by_sr else _CLAIM
        try:
            claim = await self._store.claim(self.name, now, limit, frozenset(self._in_flight), by_sr=self._settings.by_sr)
        except BaseException:
            self._backlog = True
            raise
        self._seen_to = max(self._seen_to, claim.seen_to)
        if changed != self._changed:
            return
        offered = [] if claim.more else [owed for owed in self._ready if owed.seq > claim.seen_to]
        self._ready = deque([*claim.owed, *offered])
        self._ready_bytes = sum(len(owed.message.body) for owed in self._ready)
        self._backlog = self._backlog or claim.more
        if claim.next_due is not None:
            self._expect(claim.next_due)

    async def _probe(self, sends: asyncio.TaskGroup) -> float | None:
        """One attempt to see whether the sink is back, with another delivery than the last time where there is one."""
        if self._in_flight:
            return None
        now = self._clock.now()
        claim = await self._store.claim(self.name, now, 2, frozenset(), by_sr=self._settings.by_sr)
        if self._stopping or self.gates.closed_for() > 0:
            return 0.0
        if not claim.owed:
            return None if claim.next_due is None else max(claim.next_due - now, 0.001)
        owed = next((owed for owed in claim.owed if owed.seq != self._probed), claim.owed[0])
        self._probed = owed.seq
        self._start(owed, sends, probe=True)
        return None

    async def _give_up_expired(self) -> None:
        if self._clock.monotonic() < self._look_for_expired_at:
            return
        policy, limit = self._settings.policy, 100
        before = self._clock.now() - policy.give_up_after
        busy = frozenset(self._in_flight)
        late = await self._store.read(lambda connection: reads.expired(connection, self.name, before, limit, busy))
        if late:
            self.refresh()
            self._in_flight |= {owed.seq for owed in late}
            try:
                await asyncio.gather(*(self._settle(owed, expired(owed.retries), None) for owed in late))
            finally:
                self._in_flight -= {owed.seq for owed in late}
        if len(late) < limit:
            wait = min(_EXPIRY_SECONDS, max(policy.give_up_after / 10, 0.1))
            self._look_for_expired_at = self._clock.monotonic() + wait

    def _forget(self) -> None:
        """Drop what is in memory: the store has it too, and will give it back in its order."""
        self._ready.clear()
        self._ready_bytes = 0
        self._backlog = True

    def _open_for_all(self) -> bool:
        return not self._stopping and not self.gates.breaker.is_open and self.gates.closed_for() == 0

    def _free(self) -> bool:
        return len(self._in_flight) < self._settings.concurrency

    def _expect(self, due: float) -> None:
        self._next_due = due if self._next_due is None else min(self._next_due, due)

    def _start(self, owed: Owed, sends: asyncio.TaskGroup, *, probe: bool = False) -> None:
        if not probe:
            self._ready_bytes -= len(owed.message.body)
        self._in_flight.add(owed.seq)
        sends.create_task(self._deliver(owed, probe=probe), name=f"send:{owed.delivery_id}")

    async def _deliver(self, owed: Owed, *, probe: bool) -> None:
        changed = self._changed
        try:
            now, policy = self._clock.now(), self._settings.policy
            if now >= expires_at(policy, owed.since):
                await self._settle(owed, expired(owed.retries), None)
                return
            attempt = await self._attempt(owed, now)
            outcome, now = attempt.outcome, self._clock.now()
            change = self.gates.report(outcome, probe=probe)
            if probe and isinstance(outcome, Retry):
                until = self.gates.breaker.probe_at or now
                transition = postponed(retries=owed.retries, since=owed.since, until=until, reason=outcome.reason, policy=policy)
            else:
                jitter = self._clock.jitter()
                transition = decide(outcome, retries=owed.retries, since=owed.since, now=now, jitter=jitter, policy=policy)
            if isinstance(outcome, Defer):
                self.gates.hold(hold(outcome.after))
            await self._settle(owed, transition, attempt)
            if change is not None or probe:
                await self._keep_breaker(change, outcome)
        finally:
            self._in_flight.discard(owed.seq)
            if self._settings.by_sr or changed != self._changed:
                # The next one of its service request may go now; or it was replayed while it counted as in flight.
                self._backlog = True
            self._wake.set()

    async def _attempt(self, owed: Owed, now: float) -> Attempt:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._settings.timeout):
                outcome: Outcome = await self._sink.send(_outgoing(owed))
        except TimeoutError:
            outcome = Retry(Reason.TIMEOUT, f"no outcome within {self._settings.timeout:g} s")
        except Exception:
            # A sink returns what it expects; this is a bug of ours, and the delivery must not pay for it with its life.
            self._world.log.exception("delivery.bug", sink=self.name, delivery_id=owed.delivery_id)
            outcome = Retry(Reason.BUG, "a bug in the gateway; the log has the traceback")
        duration = self._clock.monotonic() - started
        return Attempt(number=owed.attempts + 1, started_at=now, duration_ms=round(duration * 1000), outcome=outcome)

    async def _settle(self, owed: Owed, transition: Transition, attempt: Attempt | None) -> None:
        settlement = Settlement(owed.seq, owed.sink, transition, self._clock.now(), attempt)
        while True:
            commit = self._store.settle(settlement)
            try:
                in_time = await asyncio.shield(commit)
                break
            except asyncio.CancelledError:
                # The commit goes on without us: what it did still has to stand in the audit log.
                with suppress(StoreError):
                    self._report(owed, transition, attempt, in_time=await commit)
                raise
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                # The outcome is known and must not be forgotten: the slot stays taken until the disk has it.
                await self._clock.wait(asyncio.Event(), _TROUBLE_SECONDS)
        if transition.due_at is not None and in_time:
            self._expect(transition.due_at)
        self._report(owed, transition, attempt, in_time=in_time)
        if transition.state == "dead" and in_time:
            await self._world.notices.delivery_dead(owed, transition.reason or "", attempt)

    def _report(self, owed: Owed, transition: Transition, attempt: Attempt | None, *, in_time: bool = True) -> None:
        if attempt is not None:
            outcome = attempt.outcome
            self.last_error = None if isinstance(outcome, Delivered) else outcome.detail or outcome.reason.value
        report(self._world.audit, self._world.metrics, self._clock.now(), owed, transition, attempt, in_time=in_time)

    async def _keep_breaker(self, change: Change | None, outcome: Outcome) -> None:
        try:
            await self._store.keep_sink(self.name, self.gates.state)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            pass  # the disk takes nothing now; what is kept is only what a restart would begin with
        if change is None:
            return
        detail = "" if isinstance(outcome, Delivered) else outcome.detail
        reason = outcome.reason if isinstance(outcome, Retry) else None
        self._world.audit.step(change.value, sink=self.name, reason=reason, detail=detail or None)
        self._world.metrics.gate(self.name, "breaker", closed=change is Change.OPENED)
        if change is Change.OPENED:
            self._world.log.warning("sink.opened", sink=self.name, reason=reason, detail=detail)
            self.refresh()
            await self._world.notices.sink_opened(self.name, reason or "", detail)
        else:
            self._world.log.info("sink.closed", sink=self.name)


def _outgoing(owed: Owed) -> Outgoing:
    message = owed.message
    decoded = events.decode(message.body)
    return Outgoing(
        delivery_id=owed.delivery_id,
        message_id=message.id,
        sender_id=message.sender_id,
        source=message.source,
        received_at=message.received_at,
        event=decoded if isinstance(decoded, events.Event) else None,
        body=message.body,
        content_type=message.content_type,
        attempt=owed.attempts + 1,
    )
