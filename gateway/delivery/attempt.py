"""One claimed delivery to its end: attempt, decide, settle, tell. What comes next is the lane's business."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec import Struct

from gateway.core import events
from gateway.core.audit_events import SinkClosed, SinkOpened
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.core.records import Attempt, Owed, Settlement
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, hold, postponed
from gateway.delivery.gates import Change, Gates
from gateway.delivery.memory import Memory
from gateway.delivery.report import report
from gateway.host.clock import Clock
from gateway.ingest.own_events import Notices
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.sinks.base import Outgoing, Sink
from gateway.store.sqlite.store import Store

_TROUBLE_SECONDS = 1.0
"""Between two tries to commit an outcome while the database takes nothing."""


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
    memory: Memory = field(default_factory=Memory)


class Failure(Struct, frozen=True):
    """An attempt that did not deliver."""

    at: float
    """Unix seconds, UTC."""
    reason: Reason
    detail: str
    status: int | None


class Settled(Struct, frozen=True):
    """What a lane has to know of a delivery that was settled."""

    due_at: float | None = None
    """When it is tried again; None: never."""
    opened: bool = False
    """The breaker opened."""


class Attempts:
    """Attempts at one sink, at most as many at a time as the lane starts."""

    def __init__(self, name: str, sink: Sink, gates: Gates, world: LaneWorld) -> None:
        self.name = name
        self.last_error: str | None = None
        """The error of the last attempt; None if it did not fail."""
        self.last_failure: Failure | None = None
        """The last one since the start, whatever came after it."""
        self._sink: Sink | None = sink
        """None: it left the configuration."""
        self._in_use: Counter[Sink] = Counter()
        """How many deliveries a sink has in its hands: one that was replaced is closed after the last of them."""
        self._gates = gates
        self._world = world
        self._store, self._clock = world.store, world.clock
        self._say = Sparing(world.log, world.clock.monotonic).say

    async def deliver(self, owed: Owed, settings: LaneSettings, *, probe: bool) -> Settled:
        """Attempt a delivery, and commit what came of it. Cancelled before there is an outcome, it cost nothing."""
        sink = self._sink
        if sink is None:
            return Settled()  # it has just left: the delivery stays in the store as it is
        self._in_use[sink] += 1
        try:
            return await self._deliver(sink, owed, settings, probe=probe)
        finally:
            await self._let_go(sink)

    async def drill(self, delivery: Outgoing, timeout: float) -> Attempt:
        """Send what nobody is owed: nothing of it is kept, and no gate is asked or told.

        Args:
            timeout: seconds.
        """
        sink, now = self._sink, self._clock.now()
        if sink is None:
            outcome = Retry(Reason.UNAVAILABLE, "the sink has just left the configuration, or the gateway stops")
            return Attempt(number=1, started_at=now, duration_ms=0, outcome=outcome)
        self._in_use[sink] += 1
        try:
            ids = (delivery.message_id, delivery.delivery_id)
            return await self._timed(lambda: sink.send(delivery), ids, delivery.attempt, now, timeout)
        finally:
            await self._let_go(sink)

    async def give_up(self, owed: Owed) -> None:
        """End a delivery whose time is over, without a request."""
        await self._settle(owed, expired(owed.retries), None)

    def use(self, sink: Sink | None) -> Sink | None:
        """Make the attempts that begin from now on at another sink, or none; the one before it, where it is free to be closed."""
        before, self._sink = self._sink, sink
        return None if before is None or before in self._in_use else before

    async def aclose(self) -> None:
        """A drill that is still in flight closes the sink at its end."""
        if (sink := self.use(None)) is not None:
            await sink.aclose()

    async def _deliver(self, sink: Sink, owed: Owed, settings: LaneSettings, *, probe: bool) -> Settled:
        now, policy = self._clock.now(), settings.policy
        if now >= expires_at(policy, owed.since):
            await self.give_up(owed)
            return Settled()
        number, timeout = owed.attempts + 1, settings.timeout
        ids = (owed.message.id, owed.delivery_id)
        attempt = await self._timed(lambda: sink.send(_outgoing(owed)), ids, number, now, timeout)
        outcome, now = attempt.outcome, self._clock.now()
        change = self._gates.report(outcome, probe=probe)
        if probe and isinstance(outcome, Retry):
            until = self._gates.breaker.probe_at or now
            transition = postponed(retries=owed.retries, since=owed.since, until=until, reason=outcome.reason, policy=policy)
        else:
            jitter = self._clock.jitter()
            transition = decide(outcome, retries=owed.retries, since=owed.since, now=now, jitter=jitter, policy=policy)
        if isinstance(outcome, Defer):
            self._gates.hold(hold(outcome.after))
        in_time = await self._settle(owed, transition, attempt)
        if change is not None or probe or isinstance(outcome, Defer):
            await self._keep_gates(change, outcome)
        return Settled(transition.due_at if in_time else None, opened=change is Change.OPENED)

    async def _timed(
        self, send: Callable[[], Awaitable[Outcome]], ids: tuple[str, str], number: int, now: float, timeout: float
    ) -> Attempt:
        """`ids` are the message's and the delivery's."""
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(timeout):
                outcome = await send()
        except TimeoutError:
            outcome = Retry(Reason.TIMEOUT, f"no outcome within {timeout:g} s")
        except Exception:
            # A sink returns what it expects; this is a bug of ours, and the delivery must not pay for it with its life.
            self._say("exception", "delivery.bug", sink=self.name, message_id=ids[0], delivery_id=ids[1], attempt=number)
            outcome = Retry(Reason.BUG, "a bug in the gateway; the log has the traceback")
        duration = self._clock.monotonic() - started
        return Attempt(number=number, started_at=now, duration_ms=round(duration * 1000), outcome=outcome)

    async def _let_go(self, sink: Sink) -> None:
        self._in_use[sink] -= 1
        if not self._in_use[sink]:
            del self._in_use[sink]
            if sink is not self._sink:
                await self._close(sink)

    async def _close(self, sink: Sink) -> None:
        """Whatever goes wrong with that is no matter of the delivery, which is settled."""
        try:
            await sink.aclose()
        except Exception:
            self._say("exception", "sink.bug", sink=self.name)

    async def _settle(self, owed: Owed, transition: Transition, attempt: Attempt | None) -> bool:
        """Commit, and tell; False where a person ended the delivery meanwhile."""
        settlement = Settlement(owed.seq, owed.sink, transition, self._clock.now(), attempt)

        def told(in_time: bool) -> None:
            try:
                self._report(owed, transition, attempt, in_time=in_time)
            except Exception:
                self._say("exception", "report.bug", sink=self.name, message_id=owed.message.id)

        while True:
            commit = self._store.settle(settlement, told)
            try:
                in_time = await asyncio.shield(commit)
                break
            except asyncio.CancelledError:
                with suppress(StoreError):  # the commit goes on without us, and is told of
                    await commit
                raise
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                # The outcome is known and must not be forgotten: the slot stays taken until the disk has it.
                await self._clock.wait(asyncio.Event(), _TROUBLE_SECONDS)
        if transition.state == "dead" and in_time:
            await self._world.notices.delivery_dead(owed, transition.reason or "", attempt)
        return in_time

    def _report(self, owed: Owed, transition: Transition, attempt: Attempt | None, *, in_time: bool = True) -> None:
        if attempt is not None:
            outcome = attempt.outcome
            if isinstance(outcome, Delivered):
                self.last_error = None
            else:
                self.last_error = outcome.detail or outcome.reason.value
                self.last_failure = Failure(attempt.started_at, outcome.reason, outcome.detail, outcome.status)
        report(self._world.audit, self._world.metrics, self._clock.now(), owed, transition, attempt, in_time=in_time)

    async def _keep_gates(self, change: Change | None, outcome: Outcome) -> None:
        try:
            await self._store.keep_sink(self.name, self._gates.state)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            pass  # the disk takes nothing now; what is kept is only what a restart would begin with
        if change is None:
            return
        detail = "" if isinstance(outcome, Delivered) else outcome.detail
        reason = outcome.reason if isinstance(outcome, Retry) else None
        opened = change is Change.OPENED
        self._world.audit.step(
            SinkOpened(sink=self.name, reason=reason, detail=detail or None) if opened else SinkClosed(sink=self.name)
        )
        if self._sink is not None:  # else there is no such gate any more
            self._world.metrics.gate(self.name, "breaker", closed=opened)
        if opened:
            self._world.log.warning("sink.opened", sink=self.name, reason=reason, detail=detail)
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
