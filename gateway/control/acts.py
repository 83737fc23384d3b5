"""The parts that do what people ask for, and say what people did, as one value: the pages and the API need most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.control.act_jobs import ActJobs
from gateway.control.act_list import ActList
from gateway.control.bulk_acts import BulkActs
from gateway.control.drills import Drills
from gateway.control.interventions import Interventions
from gateway.control.rule_trial import RuleTrial
from gateway.control.sampling import Sampling
from gateway.core.routing import Route
from gateway.ingest.receive import Source


class Acts(Struct, frozen=True, kw_only=True):
    """Everything that acts."""

    interventions: Interventions
    bulk: BulkActs
    drills: Drills
    sampling: Sampling
    jobs: ActJobs
    done: ActList
    trial: RuleTrial

    def use(self, routes: Sequence[Route], sources: Mapping[str, Source]) -> None:
        """Know the routes and sources of another configuration."""
        self.drills.use(routes)
        self.sampling.use(sources)
