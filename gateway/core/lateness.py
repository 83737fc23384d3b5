"""The treatment of late events by a sink: its `on_stale` (docs/reference.md, "Facts")."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from msgspec import structs

from gateway.core.ledger import Facts
from gateway.core.routing import Decision

OnStale = Literal["deliver", "annotate", "suppress"]
"""`deliver` sends a late event like any other, `annotate` says that it is late, `suppress` does not send it."""


def is_outdated(facts: Facts | None) -> bool:
    """Return True if a late event tells nothing new.

    A late verdict does if it is the one that the request has: the documents that came before it do not say the verdict.
    """
    return facts is not None and facts.stale and not facts.brings_verdict


def withheld(decision: Decision, facts: Facts | None, suppressing: Collection[str]) -> Decision:
    """Move the sinks that suppress late events from `sinks` to `suppressed`, if the event is one.

    Args:
        suppressing: the sinks with `on_stale = "suppress"`.
    """
    if not suppressing or not is_outdated(facts):
        return decision
    kept = tuple(sink for sink in decision.sinks if sink not in suppressing)
    return structs.replace(decision, sinks=kept, suppressed=tuple(sink for sink in decision.sinks if sink in suppressing))
