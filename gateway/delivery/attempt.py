"""The life of one claimed delivery: send, decide, settle, report. When the next one starts is the lane's business.

`Attempts.deliver` is the pipe; every step below it takes what the step before it returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec import Struct

from gateway.core import events
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.core.records import Attempt, Owed, Settlement
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, postponed
from gateway.delivery import report
from gateway.delivery.gates import Change, Gates
from gateway.delivery.sink_slot import SinkSlot
from gateway.delivery.world import TROUBLE_SECONDS, LaneSettings, LaneWorld
from gateway.observability.logs import Sparing
from gateway.sinks.base import Outgoing, Sink


class FailedAttempt(Struct, frozen=True):
    at: float
    """When the attempt began, Unix seconds, UTC."""
    reason: Reason
    detail: str
    status: int | None


class Settled(Struct, frozen=True):
    """The facts about a settled delivery that its lane has to know."""

    due_at: float | None = None
    """When it is tried again, Unix seconds; None: never."""
    opened: bool = False
    """The attempt opened the breaker."""


class Attempts:
    """Attempts at one sink. The lane limits how many there are at a time."""

    def __init__(self, name: str, sink: Sink, gates: Gates, world: LaneWorld) -> None:
        say = Sparing(world.log, world.clock.monotonic)
        self.name = name
        self.slot = SinkSlot(name, sink, say)
        self.last_error: str | None = None
        """The error of the last attempt; None if it did not fail."""
        self.last_failure: FailedAttempt | None = None
        """The last attempt since the start that failed, whatever came after it."""
        self._gates = gates
        self._world = world
        self._store, self._clock = world.store, world.clock
        self._say = say.say

    async def deliver(self, owed: Owed, settings: LaneSettings, *, probe: bool) -> Settled:
        """Attempt a delivery and commit its outcome. An attempt that is cancelled before it has an outcome costs nothing."""
        sink = self.slot.take()
        if sink is None:
            return Settled()  # it has just left the configuration: the delivery stays in the store as it is
        try:
            return await self._deliver(sink, owed, settings, probe=probe)
        finally:
            await self.slot.give_back(sink)

    async def _deliver(self, sink: Sink, owed: Owed, settings: LaneSettings, *, probe: bool) -> Settled:
        now, policy = self._clock.now(), settings.policy
        if now >= expires_at(policy, owed.since):
            await self.give_up(owed)
            return Settled()
        ids = (owed.message.id, owed.delivery_id)
        attempt = await self._send(lambda: sink.send(_outgoing(owed)), ids, owed.attempts + 1, now, settings.timeout)
        change = self._gates.report(attempt.outcome, probe=probe)
        transition = self._decide(owed, attempt.outcome, policy, probe=probe)
        in_time = await self._settle(owed, transition, attempt)
        if change is not None or probe or isinstance(attempt.outcome, Defer):
            await self._keep_gates()
        if change is not None:
            await report.breaker(self._world, self.name, change, attempt.outcome, shown=not self.slot.empty)
        return Settled(transition.due_at if in_time else None, opened=change is Change.OPENED)

    async def give_up(self, owed: Owed) -> None:
        """End a delivery whose time is over, without a request."""
        await self._settle(owed, expired(owed.retries), None)

    async def drill(self, delivery: Outgoing, timeout: float) -> Attempt:
        """Send a message that is not a delivery: nothing is stored, and no gate is asked or told.

        Args:
            timeout: seconds.
        """
        sink, now = self.slot.take(), self._clock.now()
        if sink is None:
            outcome = Retry(Reason.UNAVAILABLE, "the sink has just left the configuration, or the gateway stops")
            return Attempt(number=1, started_at=now, duration_ms=0, outcome=outcome)
        try:
            ids = (delivery.message_id, delivery.delivery_id)
            return await self._send(lambda: sink.send(delivery), ids, delivery.attempt, now, timeout)
        finally:
            await self.slot.give_back(sink)

    async def _send(
        self, send: Callable[[], Awaitable[Outcome]], ids: tuple[str, str], number: int, now: float, timeout: float
    ) -> Attempt:
        """Make one request, within `timeout` seconds. `ids` are the message's and the delivery's, for the log."""
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

    def _decide(self, owed: Owed, outcome: Outcome, policy: RetryPolicy, *, probe: bool) -> Transition:
        """Turn an outcome into what happens next. A probe that fails spends no budget: it waits for the next probe."""
        now = self._clock.now()
        if probe and isinstance(outcome, Retry):
            until = self._gates.breaker.probe_at or now
            return postponed(retries=owed.retries, since=owed.since, until=until, reason=outcome.reason, policy=policy)
        jitter = self._clock.jitter()
        return decide(outcome, retries=owed.retries, since=owed.since, now=now, jitter=jitter, policy=policy)

    async def _settle(self, owed: Owed, transition: Transition, attempt: Attempt | None) -> bool:
        """Commit a transition and report it. Returns False if a person ended the delivery meanwhile."""
        settlement = Settlement(owed.seq, owed.sink, transition, self._clock.now(), attempt)

        bugs: list[Exception] = []

        def lines(in_time: bool) -> list[bytes]:
            try:
                return report.lines(self._world.audit, owed, transition, attempt, in_time=in_time)
            except Exception as bug:
                bugs.append(bug)
                return []

        def told(in_time: bool) -> None:
            try:
                self._count(owed, transition, attempt, in_time=in_time)
                if bugs:
                    raise bugs[0]
            except Exception:
                self._say("exception", "report.bug", sink=self.name, message_id=owed.message.id)

        while True:
            commit = self._store.settle(settlement, told, lines)
            try:
                in_time = await asyncio.shield(commit)
                break
            except asyncio.CancelledError:
                with suppress(StoreError):  # the commit goes on without us, and is reported
                    await commit
                raise
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                # The outcome is known and must not be forgotten: the slot stays taken until the disk has it.
                await self._clock.wait(asyncio.Event(), TROUBLE_SECONDS)
        if transition.state == "dead" and in_time:
            await self._world.own_events.delivery_dead(owed, transition.reason or "", attempt)
        return in_time

    def _count(self, owed: Owed, transition: Transition, attempt: Attempt | None, *, in_time: bool) -> None:
        """Remember how the attempt went, and count what is on disk now."""
        if attempt is not None:
            outcome = attempt.outcome
            if isinstance(outcome, Delivered):
                self.last_error = None
            else:
                self.last_error = outcome.detail or outcome.reason.value
                self.last_failure = FailedAttempt(attempt.started_at, outcome.reason, outcome.detail, outcome.status)
        report.count(self._world.metrics, self._clock.now(), owed, transition, attempt, in_time=in_time)

    async def _keep_gates(self) -> None:
        try:
            await self._store.keep_gates(self.name, self._gates.state)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            pass  # the disk takes nothing now; what is kept is only what a restart would begin with


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
