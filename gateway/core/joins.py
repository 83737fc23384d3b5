"""Joins: the two events that tell one rejection, and when one may wait for the other (docs/reference.md, "Routing"). Pure."""

from __future__ import annotations

from typing import Final

from gateway.core.events import Milestone
from gateway.core.ledger import Facts

LONGEST_JOIN: Final = 600.0
"""Seconds that the first event of a rejection may wait for the other one, at most."""
REJECTION: Final = frozenset({Milestone.QC_REJECTED.value, Milestone.NEEDS_RESUBMISSION.value})
"""The milestones that tell one rejection together: the state, and the photos with their reasons. Either may come first."""


def may_wait(facts: Facts | None) -> bool:
    """Return True if the facts say which round an event belongs to, and that it is not late."""
    return facts is not None and facts.round >= 1 and not facts.stale
