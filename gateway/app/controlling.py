"""Builds the parts that answer the people who run the gateway, and do what they ask for."""

from __future__ import annotations

from msgspec import Struct

from gateway.app.derive import sources_by_name
from gateway.app.foundation import Foundation, Host
from gateway.app.ingesting import Ingest
from gateway.config import Config
from gateway.control.act_jobs import ActJobs
from gateway.control.act_list import ActList
from gateway.control.acts import Acts
from gateway.control.browse import Browse
from gateway.control.bulk_acts import BulkActs
from gateway.control.database_jobs import DatabaseJobs
from gateway.control.drills import Drills
from gateway.control.evidence import Evidence
from gateway.control.evidence_files import EvidenceFiles
from gateway.control.interventions import Interventions
from gateway.control.kept_rules import KeptRulesReader
from gateway.control.redecode import Redecode
from gateway.control.reverify import Reverify
from gateway.control.rule_trial import RuleTrial
from gateway.control.sampling import Sampling
from gateway.control.stories import Requests
from gateway.delivery.directory import Directory
from gateway.host.clock import Clock
from gateway.maintenance.sealing import Sealing
from gateway.reconcile.reconciler import Reconciler


class Controls(Struct, frozen=True, kw_only=True):
    """The questions and acts of people, without the status report."""

    browse: Browse
    requests: Requests
    acts: Acts
    database_jobs: DatabaseJobs
    reverify: Reverify
    redecode: Redecode
    evidence: Evidence
    evidence_files: EvidenceFiles


def build_controls(
    config: Config,
    host: Host,
    foundation: Foundation,
    ingest: Ingest,
    *,
    lanes: Directory,
    lane_clock: Clock,
    sealing: Sealing,
    reconciler: Reconciler,
) -> Controls:
    """Build them; nothing runs yet."""
    clock, log = host.clock, host.log
    metrics, audit, store = foundation.metrics, foundation.audit, foundation.store
    inbox = ingest.inbox
    kept = KeptRulesReader(store)
    acts = _acts(config, host, foundation, ingest, lanes=lanes, lane_clock=lane_clock, kept=kept, reconciler=reconciler)
    reverify = Reverify(
        refused=ingest.refused,
        intake=ingest.intake,
        sources=sources_by_name(config),
        audit=audit,
        metrics=metrics,
        clock=clock,
        log=log,
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
    return Controls(
        browse=Browse(store=store, kept=kept, router=inbox.router, lanes=lanes),
        requests=Requests(store=store, kept=kept, rules=lambda: inbox.rules.number, lanes=lanes),
        acts=acts,
        database_jobs=DatabaseJobs(store=store, space=ingest.space, audit=audit, clock=clock, log=log),
        reverify=reverify,
        redecode=redecode,
        evidence=Evidence(store=store, seal=sealing.now),
        evidence_files=EvidenceFiles(store=store, seal=sealing.now, path=audit.path, clock=clock, log=log),
    )


def _acts(
    config: Config,
    host: Host,
    foundation: Foundation,
    ingest: Ingest,
    *,
    lanes: Directory,
    lane_clock: Clock,
    kept: KeptRulesReader,
    reconciler: Reconciler,
) -> Acts:
    audit, store, clock = foundation.audit, foundation.store, host.clock
    interventions = Interventions(store=store, audit=audit, router=ingest.inbox.router, lanes=lanes, clock=lane_clock)
    return Acts(
        interventions=interventions,
        bulk=BulkActs(store=store, interventions=interventions, clock=clock),
        drills=Drills(lanes=lanes, routes=config.routes, store=store, audit=audit, clock=clock),
        sampling=Sampling(intake=ingest.intake, sources=sources_by_name(config), store=store, audit=audit, clock=clock),
        jobs=ActJobs(clock=clock, log=host.log),
        done=ActList(store, under_way=lambda: reconciler.acts_under_way),
        trial=RuleTrial(kept=kept, number=lambda: ingest.inbox.rules.number),
    )
