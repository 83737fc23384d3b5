"""Builds the parts that do what people ask for."""

from __future__ import annotations

from gateway.app.derive import sources_by_name
from gateway.config import Config
from gateway.control.act_jobs import ActJobs
from gateway.control.act_list import ActList
from gateway.control.acts import Acts
from gateway.control.bulk_acts import BulkActs
from gateway.control.drills import Drills
from gateway.control.interventions import Interventions
from gateway.control.kept_rules import KeptRulesReader
from gateway.control.rule_trial import RuleTrial
from gateway.control.sampling import Sampling
from gateway.delivery.directory import Directory
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.receive import Intake
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.store.opening import Store


def build_acts(
    config: Config,
    *,
    store: Store,
    inbox: Inbox,
    intake: Intake,
    lanes: Directory,
    kept: KeptRulesReader,
    audit: AuditLog,
    lane_clock: Clock,
    clock: Clock,
    log: Log,
) -> Acts:
    """Build them; nothing runs yet."""
    interventions = Interventions(store=store, audit=audit, router=inbox.router, lanes=lanes, clock=lane_clock)
    return Acts(
        interventions=interventions,
        bulk=BulkActs(store=store, interventions=interventions, clock=clock),
        drills=Drills(lanes=lanes, routes=config.routes, store=store, audit=audit, clock=clock),
        sampling=Sampling(intake=intake, sources=sources_by_name(config), store=store, audit=audit, clock=clock),
        jobs=ActJobs(clock=clock, log=log),
        done=ActList(store),
        trial=RuleTrial(kept=kept, number=lambda: inbox.rules.number),
    )
