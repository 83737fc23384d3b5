"""Builds the parts that do what the passing of time makes necessary."""

from __future__ import annotations

from msgspec import Struct

from gateway.app.derive import failing_after_of, silent_after_of
from gateway.app.foundation import Foundation, Host
from gateway.app.ingesting import Ingest
from gateway.app.readiness import Readiness
from gateway.config import Config
from gateway.delivery.directory import Directory
from gateway.maintenance.clock_jumps import ClockJumps, LaneClock
from gateway.maintenance.invariants import Invariants
from gateway.maintenance.janitor import Janitor
from gateway.maintenance.lasting_troubles import LastingTroubles
from gateway.maintenance.lookout import Lookout
from gateway.maintenance.sealing import Sealing
from gateway.maintenance.stalls import Stalls
from gateway.maintenance.watchdog import Watchdog
from gateway.observability.throughput import Throughput


class Maintenance(Struct, frozen=True, kw_only=True):
    """The parts that look again and again."""

    throughput: Throughput
    janitor: Janitor
    watchdog: Watchdog
    sealing: Sealing
    stalls: Stalls
    troubles: LastingTroubles
    lookout: Lookout


def build_maintenance(
    config: Config,
    host: Host,
    foundation: Foundation,
    ingest: Ingest,
    *,
    lanes: Directory,
    lane_clock: LaneClock,
    readiness: Readiness,
) -> Maintenance:
    """Build them; nothing runs yet."""
    clock, log = host.clock, host.log
    metrics, audit, store = foundation.metrics, foundation.audit, foundation.store
    throughput = Throughput(metrics.totals, clock)
    janitor = Janitor(
        store=store,
        clock_jumps=ClockJumps(store=store, lanes=lanes, lane_clock=lane_clock, clock=clock, log=log),
        invariants=Invariants(store=store, lanes=lanes, metrics=metrics, clock=lane_clock, log=log),
        rejections=ingest.rejections,
        space=ingest.space,
        throughput=throughput,
        lane_clock=lane_clock,
        clock=clock,
        log=log,
    )
    watchdog = Watchdog(
        store=store,
        audit=audit,
        lanes=lanes,
        systemd=host.systemd,
        status=readiness.status,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    sealing = Sealing(audit=audit, seals=foundation.seals, tell=ingest.own_events.sealed, metrics=metrics, clock=clock, log=log)
    remembered = ingest.remembered
    stalls = Stalls(config.watches, store=store, events=remembered, metrics=metrics, lane_clock=lane_clock, clock=clock)
    troubles = LastingTroubles(
        silent_after_of(config),
        failing_after_of(config),
        watch=ingest.watch,
        lanes=lanes,
        store=store,
        events=remembered,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    steps = {"stalls": stalls.step, "troubles": troubles.step, "drift": ingest.drift.step}
    return Maintenance(
        throughput=throughput,
        janitor=janitor,
        watchdog=watchdog,
        sealing=sealing,
        stalls=stalls,
        troubles=troubles,
        lookout=Lookout(steps, clock=clock, log=log),
    )
