"""The overview of a gateway shows as much as it can while the database does not answer."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.control.status import SelfReport
from gateway.core.attention import RunningConfig
from gateway.core.errors import StoreError
from gateway.core.outcome import Reason, Reject
from gateway.delivery.memory import Memory
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.refused_requests import RefusedRequests
from gateway.ingest.source_watch import Refusing, SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Throughput
from gateway.store.opening import refused_store
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START, FakeClock
from tests.store.kit import accepted, new, serving, settlement
from tests.support.metric_values import metric_values

_T = TypeVar("_T")


class Silent(SqliteStore):
    """A store that answers no question."""

    async def ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        raise StoreError("another process has locked the database")


async def told(refusing: Refusing) -> bool:
    return True


async def unanswered() -> dict[str, int]:
    raise StoreError("another process has locked the database")


@asynccontextmanager
async def reporting(store: SqliteStore, folder: Path, clock: FakeClock) -> AsyncIterator[tuple[SelfReport, Metrics]]:
    """The report of a gateway without lanes."""
    log, metrics = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]), Metrics()
    audit = AuditLog(folder / "audit.jsonl", clock, log)
    space = DiskSpace(lambda: 10_000, 1000, metrics, log)
    space.step()
    refused = RefusedRequests(
        refused_store(folder / "refused"), limits={}, retention=60.0, space=space, metrics=metrics, clock=clock, log=log
    )
    report = SelfReport(
        store=store,
        audit=audit,
        lanes={},
        space=space,
        certificate=None,
        throughput=Throughput(metrics.totals, clock),
        metrics=metrics,
        reasons=lambda: [store.trouble] if store.trouble else [],
        config=lambda: RunningConfig(file="gateway.toml", sha256="", loaded_at=datetime.fromtimestamp(START, UTC)),
        lines_dropped=lambda: 0,
        memory=Memory(),
        watch=SourceWatch(tell=told, metrics=metrics, clock=clock, log=log),
        refused=refused,
        silent=tuple,
        stalled=unanswered,
        reconcile_refused=lambda: None,
        clock=clock,
    )
    try:
        yield report, metrics
    finally:
        await refused.close()
        audit.close()


async def test_a_database_that_does_not_answer_hides_its_own_numbers_alone(tmp_path: Path, clock: FakeClock) -> None:
    store = await Silent.open(tmp_path / "gateway.db", 60.0)
    store.commits.trouble = "another process has locked the database"
    try:
        async with reporting(store, tmp_path, clock) as (report, metrics):
            status = await report.status()
            await report.measure()
    finally:
        await store.close()
    assert (status.ready, status.not_ready) == (False, ("another process has locked the database",))
    assert (status.quarantined, status.unrouted, status.disk_free_bytes) == (None, None, 10_000)
    assert [one.reason for one in status.attention] == ["not_ready"]
    assert metric_values(metrics, "ledger_complete") == [1]
    assert metric_values(metrics, "ledger_memory_limit_bytes") == [store.ledger_memory().limit]
    assert [metric_values(metrics, name) for name in ("ready", "store_failing", "audit_failing")] == [[0], [1], [0]]


async def test_the_status_says_why_the_newest_delivery_of_a_few_sinks_died(tmp_path: Path, clock: FakeClock) -> None:
    """Each of them costs a question to the store, so that a hundred failing sinks must not cost a hundred."""
    sinks = tuple(f"sink-{number}" for number in range(7))
    async with serving(tmp_path / "gateway.db") as store:
        for answer in ("OrderExists", "Order\n  NotFound" + "!" * 200):
            seq = await accepted(store, new(answer[:7], sinks=sinks))
            for sink in sinks:
                await store.settle(settlement(seq, Reject(Reason.HTTP_STATUS, "HTTP 422", 422, answer), sink=sink))
        async with reporting(store, tmp_path, clock) as (report, _):
            status = await report.status()
    assert [sink.dead for sink in status.sinks] == [2] * 7
    known = [sink.last_death for sink in status.sinks if sink.last_death is not None]
    assert len(known) == 5
    assert {(one.reason, one.detail) for one in known} == {("rejected", "HTTP 422")}
    assert {one.answer for one in known} == {("Order NotFound" + "!" * 200)[:120]}
