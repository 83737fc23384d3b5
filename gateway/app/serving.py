"""Builds the parts that turn the HTTP requests of senders and of people into calls of other parts."""

from __future__ import annotations

from msgspec import Struct

from gateway.app.controlling import Controls
from gateway.app.derive import access_of, door_of, sources_of, webhook_urls_of
from gateway.app.foundation import Foundation, Host, Signals
from gateway.app.ingesting import Ingest
from gateway.app.onlooking import Play, play_of
from gateway.app.readiness import Readiness
from gateway.app.reconciling import Reconciliation
from gateway.app.running import Running
from gateway.config import Config
from gateway.control.status import SelfReport
from gateway.web.admin.api import Api
from gateway.web.admin.listener import Admin, Reload
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
from gateway.web.webhooks.ingress import Ingress


class Front(Struct, frozen=True):
    """The parts of the two listeners that follow the configuration."""

    play: Play
    ingress: Ingress
    sessions: Sessions
    authentication: Authentication


def build_front(
    config: Config, host: Host, ingest: Ingest, controls: Controls, *, running: Running, readiness: Readiness
) -> Front:
    """Build them; nobody is served yet."""
    clock = host.clock
    play = play_of(lambda: running.config, lambda: readiness.addresses, ingest.inbox.router, controls.requests.caught, clock)
    ingress = Ingress(
        sources_of(config),
        ingest.intake,
        ingest.rejections,
        watch=ingest.watch,
        onlookers=play.onlookers,
        access=access_of(config),
        max_body=config.server.max_body,
        clock=clock,
        log=host.log,
    )
    sessions = Sessions(new_id=clock.new_key, monotonic=clock.monotonic)
    return Front(play, ingress, sessions, Authentication(door_of(config), sessions))


def build_admin(
    host: Host,
    foundation: Foundation,
    signals: Signals,
    front: Front,
    controls: Controls,
    *,
    reconciliation: Reconciliation,
    self_report: SelfReport,
    running: Running,
    readiness: Readiness,
    reload: Reload,
) -> Admin:
    """Build what answers the admin listener: its door, the API and the pages."""
    clock, store, play, acts = host.clock, foundation.store, front.play, controls.acts
    jobs = reconciliation.reconciler.jobs

    def changes() -> int:
        return foundation.audit.taken + acts.jobs.progress + jobs.changes

    api = Api(
        browse=controls.browse,
        requests=controls.requests,
        acts=acts,
        self_report=self_report,
        database_jobs=controls.database_jobs,
        reverify=controls.reverify,
        evidence=controls.evidence,
        redecode=controls.redecode,
        reconciler=reconciliation.reconciler,
    )
    pages = Pages(
        Control(
            browse=controls.browse,
            requests=controls.requests,
            acts=acts,
            inquiries=reconciliation.inquiries,
            self_report=self_report,
            config=lambda: running.config,
            play=play,
            webhook_urls=lambda: webhook_urls_of(running.config, readiness.addresses),
            evidence=controls.evidence_files,
            clock=clock,
        ),
        live=LiveStreams(changes=play.streams(changes), stop=signals.stop, clock=clock),
        trouble=lambda: store.trouble,
        stop=signals.stop,
    )
    permissions = Permissions((*API_PERMITS, *page_permits()))
    return Admin(
        guard=AdminGuard(front.authentication, permissions, not_allowed=pages.not_allowed, open_folder=PAGE_FILES),
        sign_in=SignIn(front.authentication, front.sessions, clock=clock, log=host.log, page=pages.login),
        api=api,
        pages=pages,
        pasted=play.pasted,
        self_report=self_report,
        metrics=foundation.metrics,
        reasons=readiness.reasons,
        reload=reload,
    )
