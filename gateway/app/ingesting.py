"""Builds the parts that take a request to its commit, and that make events of the gateway's own."""

from __future__ import annotations

import shutil

from msgspec import Struct

from gateway.app.derive import limits_of, rules_of
from gateway.app.foundation import Foundation, Host
from gateway.config import Config
from gateway.delivery.directory import Directory
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.drift_watch import DriftWatch
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.receive import Intake
from gateway.ingest.refused_requests import RefusedRequests
from gateway.ingest.rejections import Rejections
from gateway.ingest.remembered_events import RememberedEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.store.opening import refused_store


class Ingest(Struct, frozen=True, kw_only=True):
    """The way of a request into the store."""

    space: DiskSpace
    rejections: Rejections
    refused: RefusedRequests
    inbox: Inbox
    own_events: OwnEvents
    remembered: RememberedEvents
    drift: DriftWatch
    watch: SourceWatch
    intake: Intake


def build_ingest(config: Config, host: Host, foundation: Foundation, *, lanes: Directory, lane_clock: Clock) -> Ingest:
    """Build them; nothing runs yet. They reach the lanes, which are built later, through the directory."""
    clock, log = host.clock, host.log
    metrics, audit, store = foundation.metrics, foundation.audit, foundation.store
    space = DiskSpace(lambda: shutil.disk_usage(config.database.parent).free, config.store.min_free, metrics, log)
    refused = RefusedRequests(
        refused_store(config.database.with_name(f"{config.database.name}.refused"), told=log.error),
        limits=limits_of(config),
        retention=config.store.retention,
        space=space,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    inbox = Inbox(
        store=store,
        audit=audit,
        rules=rules_of(config),
        offer=lanes.offer,
        expect=lanes.expect,
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
    return Ingest(
        space=space,
        rejections=Rejections(audit, metrics, clock),
        refused=refused,
        inbox=inbox,
        own_events=own_events,
        remembered=remembered,
        drift=drift,
        watch=watch,
        intake=intake,
    )
