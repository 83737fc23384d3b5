"""Builds the parts that compare what the gateway knows with Legitmark's API."""

from __future__ import annotations

from msgspec import Struct

from gateway.app.derive import reconciling_of
from gateway.app.foundation import Foundation, Host
from gateway.app.ingesting import Ingest
from gateway.config import Config
from gateway.maintenance.lasting_troubles import LastingTroubles
from gateway.reconcile.announcements import Announcements
from gateway.reconcile.gaps import Gaps
from gateway.reconcile.inquiries import Inquiries
from gateway.reconcile.ledger_states import LedgerStates
from gateway.reconcile.reconciler import Reconciler
from gateway.reconcile.stored_states import StoredStates


class Reconciliation(Struct, frozen=True):
    """The comparison, and what begins one: by itself after a pause of the sender, or when people ask at a page."""

    reconciler: Reconciler
    gaps: Gaps
    inquiries: Inquiries


def build_reconciliation(
    config: Config, host: Host, foundation: Foundation, ingest: Ingest, troubles: LastingTroubles
) -> Reconciliation:
    """Build them; nothing runs yet."""
    clock, log = host.clock, host.log
    states = StoredStates(foundation.store)
    reconciler = Reconciler(
        reconciling_of(config),
        known=LedgerStates(foundation.store, states),
        announcements=Announcements(inbox=ingest.inbox, own_events=ingest.own_events, clock=clock, log=log),
        acts=foundation.store,
        audit=foundation.audit,
        metrics=foundation.metrics,
        clock=clock,
        log=log,
    )
    gaps = Gaps(
        settings=lambda: reconciler.settings,
        last_arrival=states.last_arrival,
        arrived_at=ingest.watch.arrived_at,
        is_silent=troubles.is_silent,
        begin=reconciler.begin_by_itself,
        clock=clock,
        log=log,
    )
    return Reconciliation(reconciler, gaps, Inquiries(reconciler, clock))
