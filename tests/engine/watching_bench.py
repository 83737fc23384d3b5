"""The parts that tell people what lasts too long, on a real store, with a clock that a test moves and lives that a test ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import structlog

from gateway.core.errors import StoreError
from gateway.core.events import Event, decode
from gateway.core.records import NewMessage, message_about
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.values import Duration, rfc3339
from gateway.core.watches import Watch
from gateway.delivery.lane import Lane
from gateway.ingest.accept import Inbox, Rules
from gateway.ingest.drift_watch import DriftWatch
from gateway.ingest.remembered_events import RememberedEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.maintenance.clock_jumps import ClockJumps, LaneClock
from gateway.maintenance.lasting_troubles import LastingTroubles
from gateway.maintenance.stalls import Stalls
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import Lines, Told
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.fakes import FakeClock
from tests.store.kit import rows
from tests.support.webhooks import event

HOUR = 3600.0
TOLD = Route(name="told", sinks=("mail",), sources=("gateway",))


class WatchedStore(SqliteStore):
    """A store that refuses what a test wants it to refuse, before or after it is on disk."""

    refused = 0
    cut = 0
    """So many messages are committed, and their caller hears that they were not."""

    def submit(self, new: NewMessage, told: Told, lines: Lines[Any] | None = None) -> None:
        if self.refused > 0:
            self.refused -= 1
            told(StoreError("the disk is full"))
        elif self.cut > 0:
            self.cut -= 1
            super().submit(new, lambda stored: told(StoreError("nobody knows what became of it")), lines)
        else:
            super().submit(new, told, lines)


class FakeLane:
    """The part of a lane that tells whether its sink fails."""

    def __init__(self) -> None:
        self.gates = SimpleNamespace(paused=False, breaker=SimpleNamespace(is_open=False))
        self.last_failure: Any = None


class Life:
    """One life of the gateway, from a start to a stop."""

    def __init__(
        self,
        store: WatchedStore,
        audit: AuditLog,
        clock: FakeClock,
        watches: Sequence[Watch],
        routes: Sequence[Route],
        silent_after: Mapping[str, Duration],
        failing_after: Mapping[str, Duration],
    ) -> None:
        self.store, self.audit, self.clock, self.metrics = store, audit, clock, Metrics()
        self.metrics.expect(["legitmark"], ["erp"], [watch.name for watch in watches])
        self.log = structlog.testing.CapturingLogger()
        log = structlog.wrap_logger(self.log, processors=[])
        self.lane_clock = LaneClock(clock)
        self.rules = Rules(router=Router(routes), policies={"mail": RetryPolicy()}, watches=tuple(watches))
        self.inbox = Inbox(
            store=store,
            audit=audit,
            rules=self.rules,
            offer=lambda owed, due: None,
            metrics=self.metrics,
            clock=self.lane_clock,
            log=log,
        )
        events = RememberedEvents(inbox=self.inbox, store=store, audit=audit, clock=clock, log=log)
        self.jumps = ClockJumps(store=store, lanes={}, lane_clock=self.lane_clock, clock=clock, log=log)
        self.stalls = Stalls(watches, store=store, events=events, metrics=self.metrics, lane_clock=self.lane_clock, clock=clock)
        self.sources = SourceWatch(tell=_nobody, metrics=self.metrics, clock=clock, log=log)
        self.lane = FakeLane()
        self.troubles = LastingTroubles(
            silent_after,
            failing_after,
            watch=self.sources,
            lanes=cast("Mapping[str, Lane]", {"erp": self.lane}),
            store=store,
            events=events,
            metrics=self.metrics,
            clock=clock,
            log=log,
        )
        self.drift = DriftWatch(store=store, events=events, metrics=self.metrics, clock=clock, log=log)

    async def enter(self, sr: str, state: str = "QC/PENDING", *, ago: float = 0.0) -> None:
        """Accept the event that brings a service request into a state, which happened some seconds ago."""
        primary, _, supplement = state.partition("/")
        await self._accept(sr, ago, state={"primary": primary, "supplement": supplement or None})

    async def invalidate(self, sr: str) -> None:
        """Accept the event that invalidates a service request now."""
        await self._accept(sr, 0.0, event_type="invalidate_sr")

    async def _accept(self, sr: str, ago: float, **content: object) -> None:
        now = self.clock.now()
        body = event(sr, reference_id=f"BAG-{sr}", timestamp=rfc3339(now - ago), **content)
        decoded = decode(body)
        assert isinstance(decoded, Event)
        message = message_about(decoded, body, message_id=self.clock.new_id(), source="legitmark", received_at=now)
        await self.inbox.put(message, decoded)

    async def told(self) -> list[dict[str, Any]]:
        """The bodies of the events that were made, in all lives."""
        return [
            json.loads(body)
            for (body,) in rows(self.store.path, "SELECT body FROM messages WHERE source = 'gateway' ORDER BY seq")
        ]

    async def lines(self, *names: str) -> list[dict[str, Any]]:
        await self.audit.flush()
        return [line for line in map(json.loads, self.audit.path.read_bytes().splitlines()) if line["event"] in names]

    def number(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"legitmark_gateway_{name}", labels)


async def _nobody(refusing: object) -> bool:
    return True


@asynccontextmanager
async def life(
    folder: Path,
    clock: FakeClock,
    *,
    watches: Sequence[Watch] = (),
    routes: Sequence[Route] = (TOLD,),
    silent_after: str = "0s",
    failing_after: str = "0s",
) -> AsyncIterator[Life]:
    """Begin a life on the database of the life before, and end it."""
    log = structlog.testing.CapturingLogger()
    async with working(WatchedStore, folder, clock, log) as (store, audit):
        silent, failing = {"legitmark": Duration(silent_after)}, {"erp": Duration(failing_after)}
        yield Life(store, audit, clock, watches, routes, silent, failing)
