"""The gateway says that it is ready, or gives every reason why it is not; its status is one line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from gateway.app.readiness import Readiness
from gateway.core.records import Counts
from gateway.ingest.disk_space import DiskSpace
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from tests.fakes import FakeClock


class Disk:
    """A store that has only its `trouble`, and a disk with so many free bytes."""

    trouble: str | None = None
    free = 2000


class Host:
    def __init__(self, folder: Path, clock: FakeClock) -> None:
        log, metrics = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]), Metrics()
        self.disk, self.stop = Disk(), asyncio.Event()
        self.audit = AuditLog(folder / "audit.jsonl", clock, log)
        self.space = DiskSpace(lambda: self.disk.free, 1000, metrics, log)
        self.readiness = Readiness(stop=self.stop, store=self.disk, audit=self.audit, space=self.space, metrics=metrics)


async def test_a_gateway_is_ready_from_the_moment_it_serves_until_it_stops(tmp_path: Path, clock: FakeClock) -> None:
    host = Host(tmp_path, clock)
    assert host.readiness.reasons() == ["starting or stopping"]
    host.readiness.serve_on([])  # a gateway may have an admin listener alone
    assert host.readiness.reasons() == []
    host.stop.set()
    assert host.readiness.reasons() == ["starting or stopping"]


async def test_each_trouble_is_a_separate_reason_for_not_being_ready(tmp_path: Path, clock: FakeClock) -> None:
    host = Host(tmp_path, clock)
    host.readiness.serve_on(["127.0.0.1:8080"])
    host.disk.trouble, host.disk.free, host.audit.failing = "the disk is full", 999, True
    host.space.step()
    assert host.readiness.reasons() == [
        "the audit log can't be written",
        "the disk has less than store.min_free left: webhooks are answered 503",
        "the disk is full",
    ]


async def test_the_status_line_counts_waiting_deliveries_once_the_store_was_asked(tmp_path: Path, clock: FakeClock) -> None:
    host = Host(tmp_path, clock)
    host.readiness.serve_on(["127.0.0.1:8080", "unix:/run/webhooks"])
    said = "ready: webhooks on 127.0.0.1:8080, unix:/run/webhooks; 0 received since start"
    assert host.readiness.status({}) == said
    counts = {"erp": Counts(queued=3, delivered=9, dead=1), "crm": Counts(queued=4)}
    assert host.readiness.status(counts) == f"{said}, 7 deliveries queued, 1 dead"
    host.disk.trouble = "the disk is full"
    assert host.readiness.status({}).startswith("not ready: the disk is full: webhooks on ")
    host.stop.set()
    assert host.readiness.status(counts) == "stopping: finishing what is in flight"
