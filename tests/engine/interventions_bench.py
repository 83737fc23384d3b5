"""A gateway with two lanes, in which tests replay, discard and list deliveries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from gateway.control.browse import Browse
from gateway.control.interventions import Act, Interventions, Progress
from gateway.control.kept_rules import KeptRulesReader
from gateway.core.breaker import BreakerPolicy
from gateway.core.outcome import Delivered, Reason, Reject
from gateway.core.records import Accepted, KeptGates, Message, NewMessage
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.selection import MessageStatus, Selection, Target
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import FakeClock, FakeSink, own_events_for
from tests.store.kit import rows

BAD = Reject(Reason.HTTP_STATUS, "HTTP 410", 410)


class InterventionsBench:
    """Interventions on two lanes, `erp` and `crm`, that work when a test tells them to. The sink `gone` was removed."""

    def __init__(self, store: SqliteStore, audit: AuditLog, clock: FakeClock) -> None:
        self.store, self.audit, self.clock = store, audit, clock
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
        own_events = own_events_for(store, audit, clock)
        world = LaneWorld(store, audit, own_events, Metrics(), clock, log)
        self.sinks = {name: FakeSink() for name in ("erp", "crm")}
        self.lanes = {
            name: Lane(
                name,
                sink,
                LaneSettings(RetryPolicy(), 4, 30.0),
                Gates(KeptGates(), BreakerPolicy(failures=1000), None, clock),
                world,
            )
            for name, sink in self.sinks.items()
        }
        self.interventions = self.routed(Route(name="all", sinks=("crm",)))
        self.browse = Browse(store=store, kept=KeptRulesReader(store), router=lambda: Router([]), lanes=self.lanes)

    def routed(self, *routes: Route) -> Interventions:
        self.interventions = Interventions(
            store=self.store, audit=self.audit, router=lambda: Router(routes), lanes=self.lanes, clock=self.clock
        )
        return self.interventions

    async def keep(self, sender: str, *sinks: str, status: MessageStatus = "accepted", **more: Any) -> Message:
        now = self.clock.now()
        message = Message(self.clock.new_id(), "legitmark", sender, now, None, more.pop("body", b"{}"), **more)
        stored = await self.store.accept(NewMessage(message, status, None, tuple((sink, now) for sink in sinks)))
        assert isinstance(stored, Accepted)
        return message

    async def work(self) -> None:
        for lane in self.lanes.values():
            for _ in range(200):
                async with asyncio.TaskGroup() as sends:
                    if await lane.step(sends) != 0 and lane.oldest_in_flight is None:
                        break
        self.clock.advance(0.01)

    async def dead(self, number: int = 3, *sinks: str) -> list[Message]:
        """Messages whose deliveries all ended dead; a second passes after each."""
        for sink in self.sinks.values():
            sink.answer = BAD
        kept = []
        for _ in range(number):
            kept.append(await self.keep(f"msg_{self.clock.new_id()}", *(sinks or ("erp",))))
            self.clock.advance(1.0)
        for lane in self.lanes.values():
            lane.refresh()
        await self.work()
        for sink in self.sinks.values():
            sink.answer = Delivered(200)
            sink.sent.clear()
        return kept

    async def states(self) -> list[tuple[Any, ...]]:
        query = "SELECT message, sink, state FROM deliveries ORDER BY message, sink"
        return await asyncio.to_thread(rows, self.store.path, query)

    async def replay(self, act: Act) -> int:
        """Apply every slice, and return how many deliveries were changed."""
        return await self._all(self.interventions.replay, act)

    async def discard(self, act: Act) -> int:
        return await self._all(self.interventions.discard, act)

    async def _all(self, do: Callable[[Act], Awaitable[Progress]], act: Act) -> int:
        changed, after = 0, act.after
        for _ in range(100):
            progress = await do(going_on_after(act, after))
            changed, after = changed + progress.changed, progress.after
            if after is None:
                return changed
        raise AssertionError("the slices have no end")

    async def lines(self, name: str) -> list[dict[str, Any]]:
        await self.audit.flush()
        if not self.audit.path.exists():
            return []
        return [line for raw in self.audit.path.read_bytes().splitlines() if (line := json.loads(raw))["event"] == name]


def going_on_after(act: Act, after: Target | None) -> Act:
    return Act(
        selection=act.selection,
        to=act.to,
        reroute=act.reroute,
        delivered=act.delivered,
        dry_run=act.dry_run,
        actor=act.actor,
        after=after,
    )


def of(**selection: Any) -> Selection:
    return Selection(**selection)


@asynccontextmanager
async def operating(tmp_path: Path, clock: FakeClock) -> AsyncIterator[InterventionsBench]:
    """Interventions on an empty store, until the end of the block."""
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    audit = AuditLog(tmp_path / "audit.jsonl", clock, log)
    store = await SqliteStore.open(tmp_path / "gateway.db", 90 * 86400.0, audit=audit)
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        yield InterventionsBench(store, audit, clock)
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()
