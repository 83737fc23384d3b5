"""Builds the parts that compare what the gateway knows with Legitmark's API."""

from __future__ import annotations

from gateway.app.derive import reconciling_of
from gateway.config import Config
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.maintenance.lasting_troubles import LastingTroubles
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.reconcile.announcements import Announcements
from gateway.reconcile.gaps import Gaps
from gateway.reconcile.ledger_states import LedgerStates
from gateway.reconcile.reconciler import Reconciler
from gateway.reconcile.stored_states import StoredStates
from gateway.store.opening import Store


def build_reconciling(
    config: Config,
    *,
    store: Store,
    inbox: Inbox,
    own_events: OwnEvents,
    watch: SourceWatch,
    troubles: LastingTroubles,
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
    log: Log,
) -> tuple[Reconciler, Gaps]:
    """Build the comparison, and what begins one by itself after a pause of the sender; nothing runs yet."""
    states = StoredStates(store)
    reconciler = Reconciler(
        reconciling_of(config),
        known=LedgerStates(store, states),
        announcements=Announcements(inbox=inbox, own_events=own_events, clock=clock, log=log),
        audit=audit,
        metrics=metrics,
        clock=clock,
        log=log,
    )
    gaps = Gaps(
        settings=lambda: reconciler.settings,
        last_arrival=states.last_arrival,
        arrived_at=watch.arrived_at,
        is_silent=troubles.is_silent,
        begin=reconciler.begin_by_itself,
        clock=clock,
        log=log,
    )
    return reconciler, gaps
