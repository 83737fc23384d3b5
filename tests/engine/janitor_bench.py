"""A janitor with a real store and audit log, on a clock that tests move."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from gateway.core.errors import StoreError
from gateway.core.outcome import Delivered, Reason, Reject
from gateway.core.records import Accepted, Attempt, Message, NewMessage, Settlement
from gateway.core.retry import RetryPolicy, decide
from gateway.core.selection import MessageStatus
from gateway.delivery.lane import Lane
from gateway.ingest.rejections import Rejections
from gateway.maintenance.invariants import Invariants
from gateway.maintenance.janitor import Janitor
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Throughput
from gateway.store.counted import Changes
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import FakeClock
from tests.store.kit import rows
from tests.support.maintenance import maintenance_of

_T = TypeVar("_T")
DAY = 86400.0
RETENTION = 90 * DAY


class FullStore(SqliteStore):
    """A store whose disk is full while `error` is set."""

    error: StoreError | None = None

    async def change(self, work: Callable[[sqlite3.Connection, Changes], _T], told: Callable[[_T], None] | None = None) -> _T:
        if self.error is not None:
            raise self.error
        return await super().change(work, told)

    async def purge(self, after: int, slice_size: int, before: float) -> tuple[int, int | None]:
        if self.error is not None:
            raise self.error
        return await super().purge(after, slice_size, before)


class JanitorBench(NamedTuple):
    store: FullStore
    audit: AuditLog
    clock: FakeClock
    log: structlog.testing.CapturingLogger
    metrics: Metrics
    rejections: Rejections
    throughput: Throughput
    janitor: Janitor
    invariants: Invariants
    lanes: dict[str, Lane]

    async def lines(self) -> list[dict[str, Any]]:
        await self.audit.flush()
        return [json.loads(line) for line in self.audit.path.read_bytes().splitlines()] if self.audit.path.exists() else []

    async def add(
        self, state: str | None = "delivered", status: MessageStatus = "accepted", number: int = 1, age: float = 0.0
    ) -> list[str]:
        """Commit messages that are `age` seconds old, each with one delivery in a state, or without one; return their ids."""
        added = []
        now = self.clock.now() - age
        for _ in range(number):
            message = Message(self.clock.new_id(), "legitmark", f"msg_{self.clock.new_id()}", now, None, b"{}")
            owes = (("erp", now),) if state is not None else ()
            stored = await self.store.accept(NewMessage(message, status, deliveries=owes))
            assert isinstance(stored, Accepted)
            if state in ("delivered", "dead"):
                outcome = Delivered() if state == "delivered" else Reject(Reason.HTTP_STATUS)
                transition = decide(outcome, retries=0, since=now, now=now, jitter=0.0, policy=RetryPolicy())
                assert await self.store.settle(Settlement(stored.seq, "erp", transition, now, Attempt(1, now, 1, outcome)))
            added.append(message.id)
        return added

    def left(self) -> set[str]:
        return {message_id for (message_id,) in rows(self.store.path, "SELECT id FROM messages")}

    async def walk(self) -> list[float]:
        """Step until the walk over the old messages is complete, and return the pauses between the steps."""
        pauses: list[float] = []
        while (pause := await self.janitor.step()) < 1.0 and len(pauses) < 100:
            pauses.append(pause)
            self.clock.advance(pause)
        return pauses


@asynccontextmanager
async def janitor_at_work(tmp_path: Path, clock: FakeClock) -> AsyncIterator[JanitorBench]:
    """A janitor of a store without lanes, until the end of the block."""
    log = structlog.testing.CapturingLogger()
    audit = AuditLog(tmp_path / "audit.jsonl", clock, structlog.wrap_logger(log, processors=[]))
    store = await FullStore.open(tmp_path / "gateway.db", RETENTION, audit=audit)
    assert isinstance(store, FullStore)
    metrics = Metrics()
    lanes: dict[str, Lane] = {}
    made = maintenance_of(store, audit, lanes, metrics, clock, structlog.wrap_logger(log, processors=[]))
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        yield JanitorBench(
            store, audit, clock, log, metrics, made.rejections, made.throughput, made.janitor, made.invariants, lanes
        )
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


def violations(bench: JanitorBench, invariant: str) -> float:
    labels = {"invariant": invariant}
    return bench.metrics.registry.get_sample_value("legitmark_gateway_invariant_violations_total", labels) or 0.0


def alarms(bench: JanitorBench, event: str) -> list[dict[str, Any]]:
    return [call.kwargs for call in bench.log.calls if call.method_name == "error" and call.kwargs["event"] == event]


async def an_hour(bench: JanitorBench) -> None:
    """Let an hour pass, in which the janitor counts the table once, and again if a number looks wrong."""
    bench.clock.advance(3600.0)
    for _ in range(10):
        await bench.janitor.step()
        bench.clock.advance(1.0)
