"""The life of one claimed delivery: send, decide, settle, report. When the next one starts is the lane's business.

`Attempts.deliver` is the pipe; every step below it takes what the step before it returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec import Struct

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.core.records import Attempt, Message, Owed, Settlement
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, postponed
from gateway.delivery import report
from gateway.delivery.gates import Change, Gates
from gateway.delivery.sink_slot import SinkSlot
from gateway.delivery.world import TROUBLE_SECONDS, LaneSettings, LaneWorld
from gateway.host.deadlines import Deadlines
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
    parted: bool = False
    """A delivery that this one would have told is due now."""


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
        self._deadlines = Deadlines()
        self._uncommitted = 0
        """Outcomes that the store has been given and has not told about yet."""
        self._all_told: asyncio.Future[None] | None = None
        """Done once there are none, if `end` waits for that."""

    async def deliver(self, owed: Owed, settings: LaneSettings, now: float, *, probe: bool) -> Settled:
        """Attempt a delivery and commit its outcome. An attempt that is cancelled before it has an outcome costs nothing.

        An outcome that the store has taken is committed and reported even if the attempt is cancelled meanwhile; `end` waits for
        that.

        Args:
            now: Unix seconds, UTC, by the same wall clock as the instants of the delivery.
        """
        sink = self.slot.take()
        if sink is None:
            return Settled()  # it has just left the configuration: the delivery stays in the store as it is
        try:
            return await self._deliver(sink, owed, settings, now, probe=probe)
        finally:
            await self.slot.give_back(sink)

    async def _deliver(self, sink: Sink, owed: Owed, settings: LaneSettings, now: float, *, probe: bool) -> Settled:
        policy = settings.policy
        if now >= expires_at(policy, owed.since):
            await self._settle(owed, expired(owed.retries), now)
            return Settled()
        partner, parted = await self._partner(owed, settings) if owed.joins else (None, False)
        number, delivery_id = owed.attempts + 1, owed.delivery_id
        send = sink.send(Outgoing(delivery_id, owed.message, number, partner=partner))
        attempt = await self._attempt(send, (owed.message.id, delivery_id), number, now, settings.timeout)
        change, ended = self._gates.report(attempt.outcome, probe=probe), self._clock.now()
        transition = self._decide(owed, attempt.outcome, ended, policy, probe=probe)
        in_time = await self._settle(owed, transition, ended, attempt)
        if change is not None or probe or isinstance(attempt.outcome, Defer):
            await self._keep_gates()
        if change is not None:
            await report.breaker(self._world, self.name, change, attempt.outcome, shown=not self.slot.empty)
        return Settled(transition.due_at if in_time else None, opened=change is Change.OPENED, parted=parted)

    async def give_up(self, owed: Owed) -> None:
        """End a delivery whose time is over, without a request."""
        await self._settle(owed, expired(owed.retries), self._clock.now())

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
            return await self._attempt(sink.send(delivery), ids, delivery.attempt, now, timeout)
        finally:
            await self.slot.give_back(sink)

    async def end(self) -> None:
        """Wait until the store has told about every outcome, and close the sink. No delivery is in flight any more."""
        try:
            while self._uncommitted:
                self._all_told = asyncio.get_running_loop().create_future()
                await self._all_told
        finally:
            await self.slot.aclose()

    async def _partner(self, owed: Owed, settings: LaneSettings) -> tuple[Message | None, bool]:
        """Find the message that is told with a delivery; from here on none is added.

        If the sink has become one that cannot tell both, each is told alone.

        Returns the message, None if the delivery goes out alone; and whether a delivery that it would have told is due instead.
        """
        while True:
            try:
                if settings.joins:
                    return await self._store.close_join(owed.seq, owed.sink), False
                return None, await self._store.part(owed.seq, owed.sink, self._clock.now())
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                await self._clock.wait(asyncio.Event(), TROUBLE_SECONDS)

    async def _attempt(self, send: Awaitable[Outcome], ids: tuple[str, str], number: int, now: float, timeout: float) -> Attempt:
        """Make one request, within `timeout` seconds. `ids` are the message's and the delivery's, for the log.

        Only the sink holds the delivery meanwhile, because its decoded event may take many times the memory of the body.
        """
        started = self._clock.monotonic()
        try:
            outcome = await self._deadlines.keep(send, asyncio.get_running_loop().time() + timeout)
        except TimeoutError:
            outcome = Retry(Reason.TIMEOUT, f"no outcome within {timeout:g} s")
        except Exception:
            # A sink returns what it expects; this is a bug of ours, and the delivery must not pay for it with its life.
            self._say("exception", "delivery.bug", sink=self.name, message_id=ids[0], delivery_id=ids[1], attempt=number)
            outcome = Retry(Reason.BUG, "a bug in the gateway; the log has the traceback")
        duration = self._clock.monotonic() - started
        return Attempt(number=number, started_at=now, duration_ms=round(duration * 1000), outcome=outcome)

    def _decide(self, owed: Owed, outcome: Outcome, now: float, policy: RetryPolicy, *, probe: bool) -> Transition:
        """Turn an outcome into what happens next. A probe that fails spends no budget: it waits for the next probe."""
        if probe and isinstance(outcome, Retry):
            until = self._gates.breaker.probe_at or now
            return postponed(retries=owed.retries, since=owed.since, until=until, reason=outcome.reason, policy=policy)
        jitter = self._clock.jitter()
        return decide(outcome, retries=owed.retries, since=owed.since, now=now, jitter=jitter, policy=policy)

    async def _settle(self, owed: Owed, transition: Transition, now: float, attempt: Attempt | None = None) -> bool:
        """Commit a transition and report it. Returns False if a person ended the delivery meanwhile."""
        settlement = Settlement(owed.seq, owed.sink, transition, now, attempt)
        while True:
            try:
                in_time = await self._commit(owed, settlement)
                break
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError:
                # The outcome is known and must not be forgotten: the slot stays taken until the disk has it.
                await self._clock.wait(asyncio.Event(), TROUBLE_SECONDS)
        if transition.state == "dead" and in_time:
            await self._world.own_events.delivery_dead(owed, transition.reason or "", attempt)
        return in_time

    def _commit(self, owed: Owed, settlement: Settlement) -> asyncio.Future[bool]:
        """Commit a settlement once. It is reported as soon as it is on disk, whether or not anybody still awaits the future."""
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        bugs: list[Exception] = []

        def lines(in_time: bool) -> list[bytes]:
            try:
                return report.lines(self._world.audit, owed, settlement, in_time=in_time)
            except Exception as bug:
                bugs.append(bug)
                return []

        def told(in_time: bool | Exception) -> None:
            self._uncommitted -= 1
            if not isinstance(in_time, Exception):
                self._count(owed, settlement, bugs, in_time=in_time)
            if not committed.done():
                if isinstance(in_time, Exception):
                    committed.set_exception(in_time)
                else:
                    committed.set_result(in_time)
            if not self._uncommitted and self._all_told is not None and not self._all_told.done():
                self._all_told.set_result(None)

        self._uncommitted += 1
        self._store.submit_settlement(settlement, told, lines)
        return committed

    def _count(self, owed: Owed, settlement: Settlement, bugs: list[Exception], *, in_time: bool) -> None:
        """Remember how the attempt went, and count what is on disk now. A bug in reporting it is logged, and disturbs nothing."""
        if (attempt := settlement.attempt) is not None:
            outcome = attempt.outcome
            if isinstance(outcome, Delivered):
                self.last_error = None
            else:
                self.last_error = outcome.detail or outcome.reason.value
                self.last_failure = FailedAttempt(attempt.started_at, outcome.reason, outcome.detail, outcome.status)
        try:
            report.count(self._world.metrics, self._clock.now(), owed, settlement, in_time=in_time)
            if bugs:
                raise bugs[0]
        except Exception:
            self._say("exception", "report.bug", sink=self.name, message_id=owed.message.id)

    async def _keep_gates(self) -> None:
        try:
            await self._store.keep_gates(self.name, self._gates.state)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError:
            pass  # the disk takes nothing now; what is kept is only what a restart would begin with
