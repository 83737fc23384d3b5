"""The overview of a gateway shows as much as it can while the database does not answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.control.status import SelfReport
from gateway.core.attention import RunningConfig
from gateway.core.errors import StoreError
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


async def test_a_database_that_does_not_answer_hides_its_own_numbers_alone(tmp_path: Path, clock: FakeClock) -> None:
    log, metrics = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]), Metrics()
    store, audit = await Silent.open(tmp_path / "gateway.db", 60.0), AuditLog(tmp_path / "audit.jsonl", clock, log)
    store.commits.trouble = "another process has locked the database"
    space = DiskSpace(lambda: 10_000, 1000, metrics, log)
    space.step()
    refused = RefusedRequests(
        refused_store(tmp_path / "refused"), limits={}, retention=60.0, space=space, metrics=metrics, clock=clock, log=log
    )
    self_report = SelfReport(
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
        status = await self_report.status()
        await self_report.measure()
    finally:
        await refused.close()
        audit.close()
        await store.close()
    assert (status.ready, status.not_ready) == (False, ("another process has locked the database",))
    assert (status.quarantined, status.unrouted, status.disk_free_bytes) == (None, None, 10_000)
    assert [one.reason for one in status.attention] == ["not_ready"]
    assert metric_values(metrics, "ledger_complete") == [1]
    assert metric_values(metrics, "ledger_memory_limit_bytes") == [store.ledger_memory().limit]
    assert [metric_values(metrics, name) for name in ("ready", "store_failing", "audit_failing")] == [[0], [1], [0]]
