"""Stand-ins for the world: a clock that a test moves, and a sink that answers what the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.core.outcome import Delivered, Outcome
from gateway.core.records import Owed
from gateway.core.routing import Router
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox, Rules
from gateway.ingest.own_events import OwnEvents
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.sinks.base import Outgoing
from gateway.store.base import Accepting

START = 1_772_000_000.0
"""A day in February 2026, in Unix seconds."""


class FakeClock(Clock):
    """A clock that stands still until `advance`. Its jitter is 0 unless a test sets it; its ids are real."""

    def __init__(self, now: float = START) -> None:
        super().__init__()
        self.wall = now
        self.passed = 0.0
        self.fixed_jitter = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    @property
    def sleeping(self) -> list[float]:
        """The seconds after which each task that waits for time would wake."""
        return [until - self.passed for until, _ in self._sleepers]

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def jitter(self) -> float:
        return self.fixed_jitter

    def advance(self, seconds: float) -> None:
        """Move both clocks forward, and wake the tasks whose time has come."""
        self.wall += seconds
        self.passed += seconds
        for until, woken in self._sleepers:
            if until <= self.passed:
                woken.set()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or NTP does it."""
        self.wall += seconds

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set() or seconds is None:
            await event.wait()
            return True
        woken = asyncio.Event()
        entry = (self.passed + seconds, woken)
        self._sleepers.append(entry)
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sleepers.remove(entry)
            for wait in waits:
                wait.cancel()
        return event.is_set()


class FakeSink:
    """A sink that keeps what it is sent, and answers with a fixed outcome or with a function of the delivery."""

    def __init__(self, answer: Outcome | Callable[[Outgoing], Outcome] = Delivered()) -> None:  # noqa: B008 (frozen)
        self.answer = answer
        self.sent: list[Outgoing] = []
        self.closed = 0
        self.gate: asyncio.Event | None = None
        """If set, every `send` waits for this event."""

    async def send(self, delivery: Outgoing) -> Outcome:
        self.sent.append(delivery)
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(delivery) if callable(self.answer) else self.answer

    async def aclose(self) -> None:
        self.closed += 1


_NO_RULES = Rules(router=Router([]), policies={})


def own_events_for(
    store: Accepting,
    audit: AuditLog,
    clock: Clock,
    rules: Rules = _NO_RULES,
    offer: Callable[[Owed, float], None] = lambda owed, due: None,
) -> OwnEvents:
    """The gateway's own events on a real store; without rules they reach nobody."""
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    inbox = Inbox(store=store, audit=audit, rules=rules, offer=offer, metrics=Metrics(), clock=clock, log=log)
    return OwnEvents(inbox=inbox, clock=clock, log=log)
