"""Builds every part of the gateway, one after the other: each gets what it needs from parts above it in this file.

No part is completed later. `lifecycle` runs the parts, and a reload reaches those that `following` lists. The parts of one
subject are built together, in a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from gateway.app.controlling import build_controls
from gateway.app.derive import certificate_of, watch_names_of
from gateway.app.following import followers
from gateway.app.foundation import Foundation, Host, Signals
from gateway.app.ingesting import build_ingest
from gateway.app.maintaining import build_maintenance
from gateway.app.readiness import Readiness
from gateway.app.reconciling import build_reconciliation
from gateway.app.reload import Reloads
from gateway.app.rules_in_use import RulesInUse
from gateway.app.running import Running
from gateway.app.serving import build_admin, build_front
from gateway.config import Config
from gateway.control.act_jobs import MOST_AT_ONCE
from gateway.control.database_jobs import DatabaseJobs
from gateway.control.reverify import Reverify
from gateway.control.status import SelfReport
from gateway.delivery.directory import Directory
from gateway.delivery.lanes import Lanes
from gateway.delivery.world import LaneWorld
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.refused_requests import RefusedRequests
from gateway.maintenance.clock_jumps import LaneClock
from gateway.maintenance.janitor import Janitor
from gateway.maintenance.sealing import Sealing
from gateway.maintenance.watchdog import Watchdog
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.reconcile.reconciler import Reconciler
from gateway.store.opening import Store
from gateway.web.admin.listener import Admin
from gateway.web.server.listeners import Listeners
from gateway.web.server.tls import Tls
from gateway.web.webhooks.ingress import Ingress

Work = Callable[[], Coroutine[Any, Any, None]]


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that a gateway consists of, ready to run."""

    metrics: Metrics
    audit: AuditLog
    store: Store
    running: Running
    readiness: Readiness
    space: DiskSpace
    refused: RefusedRequests
    lanes: Lanes
    rules_in_use: RulesInUse
    janitor: Janitor
    watchdog: Watchdog
    sealing: Sealing
    reverify: Reverify
    reconciler: Reconciler
    database_jobs: DatabaseJobs
    reloads: Reloads
    tls: Tls | None
    ingress: Ingress
    admin: Admin
    listeners: Listeners
    passing: tuple[tuple[str, Work], ...]
    """The work that may be cancelled at any time, each with its name."""


async def build(config: Config, host: Host, foundation: Foundation, signals: Signals) -> Parts:
    """Build everything above the foundation; nothing runs yet. Raises SinkSetupError, ListenError or StoreError."""
    environment, systemd, clock, log = host.environment, host.systemd, host.clock, host.log
    metrics, audit, store = foundation.metrics, foundation.audit, foundation.store
    metrics.expect(config.sources, config.sinks, watch_names_of(config))
    running = Running(config, clock.now())
    lane_clock = LaneClock(clock)
    directory = Directory()

    # Ingest takes a request to its commit.
    ingest = build_ingest(config, host, foundation, lanes=directory, lane_clock=lane_clock)

    # Delivery takes a claim to its settlement, and reports through ingest: a dead delivery is an event of its own.
    world = LaneWorld(store, audit, ingest.own_events, metrics, lane_clock, log)
    lanes = await Lanes.open(config, directory, world, clock)

    # Maintenance does what the passing of time makes necessary.
    readiness = Readiness(stop=signals.stop, store=store, audit=audit, space=ingest.space, metrics=metrics)
    maintenance = build_maintenance(config, host, foundation, ingest, lanes=directory, lane_clock=lane_clock, readiness=readiness)
    reconciliation = build_reconciliation(config, host, foundation, ingest, maintenance.troubles)
    reconciler = reconciliation.reconciler

    # Control answers and obeys the people who run the gateway.
    controls = build_controls(
        config,
        host,
        foundation,
        ingest,
        lanes=directory,
        lane_clock=lane_clock,
        sealing=maintenance.sealing,
        reconciler=reconciler,
    )
    certificate = certificate_of(config)
    tls = Tls(certificate, metrics=metrics, clock=clock, log=log) if certificate is not None else None
    self_report = SelfReport(
        store=store,
        audit=audit,
        lanes=directory,
        space=ingest.space,
        certificate=tls,
        throughput=maintenance.throughput,
        metrics=metrics,
        reasons=readiness.reasons,
        config=running.state,
        lines_dropped=host.lines_dropped,
        memory=world.memory,
        watch=ingest.watch,
        refused=ingest.refused,
        silent=maintenance.troubles.silent,
        stalled=maintenance.stalls.stalled,
        reconcile_refused=lambda: reconciler.refused,
        clock=clock,
    )

    # Web turns HTTP requests into calls of the parts above.
    front = build_front(config, host, ingest, controls, running=running, readiness=readiness)
    rules_in_use = RulesInUse(inbox=ingest.inbox, store=store, clock=clock)
    reloads = Reloads(
        running,
        parts=followers(
            running,
            foundation,
            ingest=ingest,
            lanes=lanes,
            maintenance=maintenance,
            controls=controls,
            reconciler=reconciler,
            front=front,
            rules_in_use=rules_in_use,
            tls=tls,
        ),
        asked=signals.reload,
        counts=store.counts,
        environment=environment,
        systemd=systemd,
        audit=audit,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    admin = build_admin(
        host,
        foundation,
        signals,
        front,
        controls,
        reconciliation=reconciliation,
        self_report=self_report,
        running=running,
        readiness=readiness,
        reload=reloads.reload,
    )

    jobs = controls.acts.jobs
    passing: list[tuple[str, Work]] = [
        ("reloads", reloads.run),
        ("reverify", controls.reverify.run),
        ("sources", ingest.watch.run),
        ("sealing", maintenance.sealing.run),
        ("lookout", maintenance.lookout.run),
        ("reconciler", reconciler.run),
        ("gaps", reconciliation.gaps.run),
        *((f"act:{number}", jobs.run) for number in range(1, MOST_AT_ONCE + 1)),
        ("onlookers", front.play.onlookers.run),
    ]
    if tls is not None:
        passing.append(("tls", tls.run))
    return Parts(
        metrics=metrics,
        audit=audit,
        store=store,
        running=running,
        readiness=readiness,
        space=ingest.space,
        refused=ingest.refused,
        lanes=lanes,
        rules_in_use=rules_in_use,
        janitor=maintenance.janitor,
        watchdog=maintenance.watchdog,
        sealing=maintenance.sealing,
        reverify=controls.reverify,
        reconciler=reconciler,
        database_jobs=controls.database_jobs,
        reloads=reloads,
        tls=tls,
        ingress=front.ingress,
        admin=admin,
        listeners=Listeners(config.base, environment=environment, systemd=systemd, clock=clock, log=log),
        passing=tuple(passing),
    )
