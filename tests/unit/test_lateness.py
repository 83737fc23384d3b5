"""The treatment of late events: which sinks suppress them, and which late event is news all the same."""

from __future__ import annotations

import pytest

from gateway.core.lateness import is_outdated, withheld
from gateway.core.ledger import Facts
from gateway.core.routing import Decision

BOTH = Decision(sinks=("erp", "archive"), routes=("all",))
LATE = Facts(stale=True)
LATE_VERDICT = Facts(stale=True, brings_verdict=True)


def test_a_late_event_is_kept_from_the_sinks_that_suppress_and_from_no_other() -> None:
    decision = withheld(BOTH, LATE, {"erp", "fraud_desk"})
    assert decision == Decision(sinks=("archive",), routes=("all",), suppressed=("erp",))
    assert withheld(BOTH, LATE, ()) == BOTH


@pytest.mark.parametrize("facts", [None, Facts(), Facts(round=3, undated=True, future=True), LATE_VERDICT], ids=str)
def test_everything_else_goes_to_all_sinks(facts: Facts | None) -> None:
    assert not is_outdated(facts)
    assert withheld(BOTH, facts, {"erp", "archive"}) == BOTH


def test_an_event_that_is_suppressed_everywhere_still_has_its_routes() -> None:
    decision = withheld(BOTH, LATE, {"erp", "archive"})
    assert (decision.sinks, decision.routes, decision.suppressed) == ((), ("all",), ("erp", "archive"))
