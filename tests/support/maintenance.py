"""A janitor with all that it looks after, put together as the gateway does it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.rejections import Rejections
from gateway.maintenance.clock_jumps import ClockJumps, LaneClock
from gateway.maintenance.invariants import Invariants
from gateway.maintenance.janitor import Janitor
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Throughput
from gateway.store.sqlite.store import SqliteStore


class Maintenance(Struct, frozen=True):
    janitor: Janitor
    invariants: Invariants
    rejections: Rejections
    throughput: Throughput


def maintenance_of(
    store: SqliteStore,
    audit: AuditLog,
    lanes: Mapping[str, Lane],
    metrics: Metrics,
    clock: Clock,
    log: Log,
    lane_clock: LaneClock | None = None,
) -> Maintenance:
    """Build a janitor on a disk that has room.

    Args:
        lane_clock: the clock that the lanes have; None if they have the same one as the janitor.
    """
    aging = lane_clock or LaneClock(clock)
    invariants = Invariants(store=store, lanes=lanes, metrics=metrics, clock=aging, log=log)
    rejections, throughput = Rejections(audit, metrics, clock), Throughput(metrics.totals, clock)
    janitor = Janitor(
        store=store,
        clock_jumps=ClockJumps(store=store, lanes=lanes, lane_clock=aging, clock=clock, log=log),
        invariants=invariants,
        rejections=rejections,
        space=DiskSpace(lambda: 1 << 40, 1 << 28, metrics, log),
        throughput=throughput,
        lane_clock=aging,
        clock=clock,
        log=log,
    )
    return Maintenance(janitor, invariants, rejections, throughput)
