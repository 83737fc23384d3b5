"""Builds every part of the gateway, one after the other: each gets what it needs from parts above it in this file.

No part is completed later. `lifecycle` runs the parts, and a reload reaches them through the list of followers in `build`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from gateway.app.acting import build_acts
from gateway.app.derive import (
    access_of,
    certificate_of,
    door_of,
    failing_after_of,
    limits_of,
    new_names,
    reconciling_of,
    rules_of,
    silent_after_of,
    sources_by_name,
    sources_of,
    watch_names_of,
    webhook_urls_of,
    with_new_secrets,
)
from gateway.app.foundation import Foundation, Host, Signals
from gateway.app.onlooking import play_of, suspects_of
from gateway.app.readiness import Readiness
from gateway.app.reconciling import build_reconciling
from gateway.app.reload import Follower, Part, Reloads
from gateway.app.rules_in_use import RulesInUse
from gateway.app.running import Running
from gateway.config import Config
from gateway.control.act_jobs import MOST_AT_ONCE
from gateway.control.browse import Browse
from gateway.control.database_jobs import DatabaseJobs
from gateway.control.evidence import Evidence
from gateway.control.kept_rules import KeptRulesReader
from gateway.control.redecode import Redecode
from gateway.control.reverify import Reverify
from gateway.control.status import SelfReport
from gateway.control.stories import Requests
from gateway.delivery.directory import Directory
from gateway.delivery.lanes import Lanes
from gateway.delivery.world import LaneWorld
from gateway.ingest.accept import Inbox
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.drift_watch import DriftWatch
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.receive import Intake
from gateway.ingest.refused_requests import RefusedRequests
from gateway.ingest.rejections import Rejections
from gateway.ingest.remembered_events import RememberedEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.maintenance.clock_jumps import ClockJumps, LaneClock
from gateway.maintenance.invariants import Invariants
from gateway.maintenance.janitor import Janitor
from gateway.maintenance.lasting_troubles import LastingTroubles
from gateway.maintenance.lookout import Lookout
from gateway.maintenance.sealing import Sealing
from gateway.maintenance.stalls import Stalls
from gateway.maintenance.watchdog import Watchdog
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Throughput
from gateway.reconcile.reconciler import Reconciler
from gateway.store.opening import Store, refused_store
from gateway.web.admin.api import Api
from gateway.web.admin.listener import Admin
from gateway.web.door.authentication import Authentication
from gateway.web.door.guard import AdminGuard
from gateway.web.door.permissions import API_PERMITS, Permissions
from gateway.web.door.sessions import Sessions
from gateway.web.door.sign_in import SignIn
from gateway.web.pages.asking import Control
from gateway.web.pages.live_streams import LiveStreams
from gateway.web.pages.page_files import PAGE_FILES
from gateway.web.pages.page_table import page_permits
from gateway.web.pages.site import Pages
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

    # Ingest takes a request to its commit. It reaches the lanes, which are built below, through the directory.
    space = DiskSpace(lambda: shutil.disk_usage(config.database.parent).free, config.store.min_free, metrics, log)
    rejections = Rejections(audit, metrics, clock)
    refused = RefusedRequests(
        refused_store(config.database.with_name(f"{config.database.name}.refused"), told=log.error),
        limits=limits_of(config),
        retention=config.store.retention,
        space=space,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    directory = Directory()
    inbox = Inbox(
        store=store,
        audit=audit,
        rules=rules_of(config),
        offer=directory.offer,
        expect=directory.expect,
        metrics=metrics,
        clock=lane_clock,
        log=log,
    )
    own_events = OwnEvents(inbox=inbox, clock=clock, log=log)
    remembered = RememberedEvents(inbox=inbox, store=store, audit=audit, clock=clock, log=log)
    drift = DriftWatch(store=store, events=remembered, metrics=metrics, clock=clock, log=log)
    watch = SourceWatch(tell=own_events.source_refused, metrics=metrics, clock=clock, log=log)
    intake = Intake(
        audit=audit,
        inbox=inbox,
        own_events=own_events,
        watch=watch,
        drift=drift.look,
        space=space,
        keep=refused.put,
        metrics=metrics,
        clock=clock,
    )

    sealing = Sealing(audit=audit, seals=foundation.seals, tell=own_events.sealed, metrics=metrics, clock=clock, log=log)

    # Delivery takes a claim to its settlement, and reports through ingest: a dead delivery is an event of its own.
    world = LaneWorld(store, audit, own_events, metrics, lane_clock, log)
    lanes = await Lanes.open(config, directory, world, clock)

    # Maintenance does what the passing of time makes necessary.
    throughput = Throughput(metrics.totals, clock)
    readiness = Readiness(stop=signals.stop, store=store, audit=audit, space=space, metrics=metrics)
    janitor = Janitor(
        store=store,
        clock_jumps=ClockJumps(store=store, lanes=directory, lane_clock=lane_clock, clock=clock, log=log),
        invariants=Invariants(store=store, lanes=directory, metrics=metrics, clock=lane_clock, log=log),
        rejections=rejections,
        space=space,
        throughput=throughput,
        lane_clock=lane_clock,
        clock=clock,
        log=log,
    )
    watchdog = Watchdog(
        store=store,
        audit=audit,
        lanes=directory,
        systemd=systemd,
        status=readiness.status,
        metrics=metrics,
        clock=clock,
        log=log,
    )

    stalls = Stalls(config.watches, store=store, events=remembered, metrics=metrics, lane_clock=lane_clock, clock=clock)
    troubles = LastingTroubles(
        silent_after_of(config),
        failing_after_of(config),
        watch=watch,
        lanes=directory,
        store=store,
        events=remembered,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    lookout = Lookout({"stalls": stalls.step, "troubles": troubles.step, "drift": drift.step}, clock=clock, log=log)

    # Control answers and obeys the people who run the gateway.
    kept = KeptRulesReader(store)
    browse = Browse(store=store, kept=kept, router=inbox.router, lanes=directory)
    requests = Requests(store=store, kept=kept, rules=lambda: inbox.rules.number, lanes=directory)
    acts = build_acts(
        config,
        store=store,
        inbox=inbox,
        intake=intake,
        lanes=directory,
        kept=kept,
        audit=audit,
        lane_clock=lane_clock,
        clock=clock,
        log=log,
    )
    database_jobs = DatabaseJobs(store=store, space=space, audit=audit, clock=clock, log=log)
    reverify = Reverify(
        refused=refused, intake=intake, sources=sources_by_name(config), audit=audit, metrics=metrics, clock=clock, log=log
    )
    redecode = Redecode(
        store=store,
        interventions=acts.interventions,
        rules=lambda: inbox.rules,
        sources=sources_by_name(config),
        audit=audit,
        clock=lane_clock,
        log=log,
    )
    reconciler, gaps = build_reconciling(
        config,
        store=store,
        inbox=inbox,
        own_events=own_events,
        watch=watch,
        troubles=troubles,
        audit=audit,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    certificate = certificate_of(config)
    tls = Tls(certificate, metrics=metrics, clock=clock, log=log) if certificate is not None else None
    self_report = SelfReport(
        store=store,
        audit=audit,
        lanes=directory,
        space=space,
        certificate=tls,
        throughput=throughput,
        metrics=metrics,
        reasons=readiness.reasons,
        config=running.state,
        lines_dropped=host.lines_dropped,
        memory=world.memory,
        watch=watch,
        refused=refused,
        silent=troubles.silent,
        stalled=stalls.stalled,
        reconcile_refused=lambda: reconciler.refused,
        clock=clock,
    )

    # Web turns HTTP requests into calls of the parts above.
    play = play_of(lambda: running.config, lambda: readiness.addresses, inbox.router, requests.caught, clock)
    ingress = Ingress(
        sources_of(config),
        intake,
        rejections,
        watch=watch,
        onlookers=play.onlookers,
        access=access_of(config),
        max_body=config.server.max_body,
        clock=clock,
        log=log,
    )
    sessions = Sessions(new_id=clock.new_key, monotonic=clock.monotonic)
    authentication = Authentication(door_of(config), sessions)

    rules_in_use = RulesInUse(inbox=inbox, store=store, clock=clock)
    # A reload goes through this list of parts, each with what it takes from the configuration. Anything else needs a restart.
    followers: list[Part] = [
        Follower(lambda new: (sources_of(new), access_of(new), new.server.max_body), ingress.use),
        Follower(lambda new: (door_of(new),), authentication.use),
        rules_in_use,
        Follower(lambda new: (new_names(running.config.sources, new.sources), (), watch_names_of(new)), metrics.expect),
        Follower(lambda new: (new.watches,), stalls.use),
        Follower(lambda new: (silent_after_of(new), failing_after_of(new)), troubles.use),
        Follower(lambda new: (new.store.min_free,), space.use),
        Follower(lambda new: (new.store.retention,), store.use),
        Follower(lambda new: (limits_of(new), new.store.retention), refused.use),
        Follower(lambda new: (new.sources,), watch.keep),
        Follower(lambda new: (sources_by_name(new), with_new_secrets(running.config, new)), reverify.use),
        Follower(lambda new: (sources_by_name(new),), redecode.use),
        Follower(lambda new: (reconciling_of(new),), reconciler.use),
        Follower(lambda new: (new.routes, sources_by_name(new)), acts.use),
        Follower(lambda new: (suspects_of(new),), play.shown.use),
    ]
    if tls is not None:
        followers.append(Follower(lambda new: (certificate_of(new),), tls.use))
    followers.append(lanes)
    reloads = Reloads(
        running,
        parts=followers,
        asked=signals.reload,
        counts=store.counts,
        environment=environment,
        systemd=systemd,
        audit=audit,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    api = Api(
        browse=browse,
        requests=requests,
        acts=acts,
        self_report=self_report,
        database_jobs=database_jobs,
        reverify=reverify,
        evidence=Evidence(store=store, seal=sealing.now),
        redecode=redecode,
        reconciler=reconciler,
    )
    pages = Pages(
        Control(
            browse=browse,
            requests=requests,
            acts=acts,
            self_report=self_report,
            config=lambda: running.config,
            play=play,
            webhook_urls=lambda: webhook_urls_of(running.config, readiness.addresses),
            clock=clock,
        ),
        live=LiveStreams(changes=play.streams(lambda: audit.taken + acts.jobs.progress), stop=signals.stop, clock=clock),
        trouble=lambda: store.trouble,
    )
    permissions = Permissions((*API_PERMITS, *page_permits()))
    admin = Admin(
        guard=AdminGuard(authentication, permissions, not_allowed=pages.not_allowed, open_folder=PAGE_FILES),
        sign_in=SignIn(authentication, sessions, clock=clock, log=log, page=pages.login),
        api=api,
        pages=pages,
        pasted=play.pasted,
        self_report=self_report,
        metrics=metrics,
        reasons=readiness.reasons,
        reload=reloads.reload,
    )
    listeners = Listeners(config.base, environment=environment, systemd=systemd, clock=clock, log=log)

    passing: list[tuple[str, Work]] = [
        ("reloads", reloads.run),
        ("reverify", reverify.run),
        ("sources", watch.run),
        ("sealing", sealing.run),
        ("lookout", lookout.run),
        ("reconciler", reconciler.run),
        ("gaps", gaps.run),
        *((f"act:{number}", acts.jobs.run) for number in range(1, MOST_AT_ONCE + 1)),
        ("onlookers", play.onlookers.run),
    ]
    if tls is not None:
        passing.append(("tls", tls.run))
    return Parts(
        metrics=metrics,
        audit=audit,
        store=store,
        running=running,
        readiness=readiness,
        space=space,
        refused=refused,
        lanes=lanes,
        rules_in_use=rules_in_use,
        janitor=janitor,
        watchdog=watchdog,
        sealing=sealing,
        reverify=reverify,
        reconciler=reconciler,
        database_jobs=database_jobs,
        reloads=reloads,
        tls=tls,
        ingress=ingress,
        admin=admin,
        listeners=listeners,
        passing=tuple(passing),
    )
