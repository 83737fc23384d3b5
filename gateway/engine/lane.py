"""The worker of one sink: claim, send, settle. One sink's trouble stays in its lane.

Fresh deliveries come from memory (`offer`, bounded); the store is asked only when it may hold due ones that memory does
not: at start, after an overflow, and when a retry comes due. While it does, memory is not used: oldest first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from msgspec import Struct

from gateway.clock import Clock
from gateway.core import events
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, hold
from gateway.core.values import rfc3339
from gateway.engine.audit import AuditLog
from gateway.sinks.base import Outgoing, Sink
from gateway.store.records import Attempt, Owed, Settlement
from gateway.store.sqlite import Store
from gateway.telemetry import Log, Metrics

_MOST_READY = 256
_MOST_READY_BYTES = 8 * 1024 * 1024
_CLAIM = 64
"""Deliveries read from the store at once; they wait in memory, and count as in flight only when they are sent."""
_TROUBLE_SECONDS = 1.0
"""Between two tries while the database or the audit log takes nothing."""
_NAMES = {Delivered: "delivered", Retry: "retry", Defer: "defer", Reject: "reject"}


class LaneSettings(Struct, frozen=True):
    policy: RetryPolicy
    concurrency: int
    """A slot is held from claim until the outcome is committed: so many deliveries a crash can repeat."""
    timeout: float
    """Seconds for one attempt."""


class Lane:
    def __init__(
        self,
        name: str,
        sink: Sink,
        settings: LaneSettings,
        *,
        store: Store,
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        self.name = name
        self._sink = sink
        self._settings = settings
        self._store = store
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._wake = asyncio.Event()
        self._stopping = False
        self._ready: deque[Owed] = deque()
        self._ready_bytes = 0
        self._backlog = True
        """The store may hold due deliveries that are not in `_ready`."""
        self._seen_to = 0
        """The newest message that a claim has seen: the store shows a commit to readers before the loop hears of it, so what was
        claimed, and perhaps delivered, may be offered after that."""
        self._next_due: float | None = None
        """When the store will next have a due one that it does not have now, as far as is known."""
        self._in_flight: set[int] = set()
        self._held_until = 0.0

    def offer(self, owed: Owed, due: float) -> None:
        """Hand over a delivery that was just committed; it is only a hint, the store has it."""
        if self._backlog or owed.seq <= self._seen_to:
            return  # a claim has it, or will
        if due > self._clock.now():
            self._expect(due)
        elif len(self._ready) >= _MOST_READY or self._ready_bytes + len(owed.message.body) > _MOST_READY_BYTES:
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
                    if (pause := await self.step(sends)) != 0:
                        await self._clock.wait(self._wake, pause)
        finally:
            await self._sink.aclose()

    async def step(self, sends: asyncio.TaskGroup) -> float | None:
        """Start as many attempts as there are free slots; the seconds until there may be more, None: until woken."""
        now = self._clock.now()
        if self._audit.failing:
            return _TROUBLE_SECONDS
        if now < self._held_until:
            return self._held_until - now
        if self._next_due is not None and self._next_due <= now:
            self._next_due = None
            self._forget()
        if self._backlog and not self._ready and self._free():
            try:
                await self._refill(now)
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                return _TROUBLE_SECONDS
        while self._ready and self._free():
            self._start(self._ready.popleft(), sends)
        if self._backlog and self._free():
            return 0.0
        return None if self._next_due is None else max(self._next_due - now, 0.0)

    def stop(self) -> None:
        """Claim nothing any more; `run` ends when what is in flight is settled."""
        self._stopping = True
        self._wake.set()

    async def _refill(self, now: float) -> None:
        # Deliveries offered while the claim runs gather in `_ready`: they may or may not be in its snapshot.
        self._backlog = False
        self._next_due = None
        try:
            claim = await self._store.claim(self.name, now, _CLAIM, frozenset(self._in_flight))
        except BaseException:
            self._backlog = True
            raise
        self._seen_to = max(self._seen_to, claim.seen_to)
        offered = [] if claim.more else [owed for owed in self._ready if owed.seq > claim.seen_to]
        self._ready = deque([*claim.owed, *offered])
        self._ready_bytes = sum(len(owed.message.body) for owed in self._ready)
        self._backlog = self._backlog or claim.more
        if claim.next_due is not None:
            self._expect(claim.next_due)

    def _forget(self) -> None:
        """Drop what is in memory: the store has it too, and will give it back in its order."""
        self._ready.clear()
        self._ready_bytes = 0
        self._backlog = True

    def _free(self) -> bool:
        return len(self._in_flight) < self._settings.concurrency

    def _expect(self, due: float) -> None:
        self._next_due = due if self._next_due is None else min(self._next_due, due)

    def _start(self, owed: Owed, sends: asyncio.TaskGroup) -> None:
        self._ready_bytes -= len(owed.message.body)
        self._in_flight.add(owed.seq)
        sends.create_task(self._deliver(owed), name=f"send:{owed.delivery_id}")

    async def _deliver(self, owed: Owed) -> None:
        try:
            now = self._clock.now()
            if now >= expires_at(self._settings.policy, owed.since):
                await self._settle(owed, expired(), None)
            else:
                attempt = await self._attempt(owed, now)
                now = self._clock.now()
                transition = decide(
                    attempt.outcome,
                    retries=owed.retries,
                    since=owed.since,
                    now=now,
                    jitter=self._clock.jitter(),
                    policy=self._settings.policy,
                )
                if isinstance(attempt.outcome, Defer):
                    self._held_until = max(self._held_until, now + hold(attempt.outcome.after))
                await self._settle(owed, transition, attempt)
        finally:
            self._in_flight.discard(owed.seq)
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
            self._log.exception("delivery.bug", sink=self.name, delivery_id=owed.delivery_id)
            outcome = Retry(Reason.BUG, "a bug in the gateway; the log has the traceback")
        duration = self._clock.monotonic() - started
        return Attempt(number=owed.attempts + 1, started_at=now, duration_ms=round(duration * 1000), outcome=outcome)

    async def _settle(self, owed: Owed, transition: Transition, attempt: Attempt | None) -> None:
        settlement = Settlement(owed.seq, owed.sink, transition, self._clock.now(), attempt)
        while True:
            commit = self._store.settle(settlement)
            try:
                await asyncio.shield(commit)
                break
            except asyncio.CancelledError:
                # The commit goes on without us: what it did still has to stand in the audit log.
                with suppress(StoreError):
                    await commit
                    self._report(owed, transition, attempt)
                raise
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                # The outcome is known and must not be forgotten: the slot stays taken until the disk has it.
                await self._clock.wait(asyncio.Event(), _TROUBLE_SECONDS)
        if transition.due_at is not None:
            self._expect(transition.due_at)
        self._report(owed, transition, attempt)

    def _report(self, owed: Owed, transition: Transition, attempt: Attempt | None) -> None:
        outcome = attempt.outcome if attempt else None
        if attempt is not None and outcome is not None:
            reason = "" if isinstance(outcome, Delivered) else outcome.reason.value
            self._metrics.attempt(self.name, _NAMES[type(outcome)], reason, attempt.duration_ms / 1000)
        if transition.state != "queued":
            since_arrival = self._clock.now() - owed.message.received_at
            self._metrics.ended(self.name, transition.state, transition.reason or "", since_arrival)
        self._audit.step(
            _event_name(transition, outcome),
            owed.message,
            sink=self.name,
            delivery_id=owed.delivery_id,
            attempt=attempt.number if attempt else None,
            status=outcome.status if outcome else None,
            duration_ms=attempt.duration_ms if attempt else None,
            reason=transition.reason,
            detail=(outcome.detail or None) if outcome else None,
            next_attempt_at=rfc3339(transition.due_at) if transition.due_at is not None else None,
        )


def _event_name(transition: Transition, outcome: Outcome | None) -> str:
    if transition.state != "queued":
        return f"delivery.{transition.state}"
    return "delivery.deferred" if isinstance(outcome, Defer) else "delivery.retrying"


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
