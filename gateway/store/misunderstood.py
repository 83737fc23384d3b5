"""Judging a message that is understood only after others of its service request have come: what both engines share.

The row becomes what it would be if the message had been understood at once. It knows no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import structs

from gateway.core.events import Event, StateChange
from gateway.core.judge import judge
from gateway.core.ledger import Facts, Flag, ServiceRequest, decode_facts, state_text
from gateway.core.watches import Entered, Entering, entering, present_state
from gateway.store.hot_rows import Key
from gateway.store.ledger_state import LedgerState
from gateway.store.standing_timers import Since

FARTHEST_JUDGED: Final = 1000
"""Messages of a request that are looked at to find the place of one. One that belongs before them stays unjudged."""


class Misunderstood(NamedTuple):
    """A message that was not understood when it came, as the ledger has it."""

    seq: int
    key: Key | None
    """The service request that it named then."""
    number: int | None
    """The number of that request; None if it is in no chain."""
    before: int | None
    facts: bytes | None
    """The facts of then, if it was judged; they say that it is drift."""
    source: str
    received_at: float


def judged_anew(
    ledger: LedgerState, row: ServiceRequest | None, old: Misunderstood, event: Event, others: Sequence[bytes]
) -> tuple[Facts | None, ServiceRequest]:
    """Judge a message by its new meaning. Returns its facts, None if a bug prevents that, and the row after it.

    Args:
        row: the row of its service request; None if it has none.
        others: the facts of the other messages of the request, as they are kept.
    """
    try:
        facts, after = judge(_without(row, old, others), event, old.received_at)
    except Exception as bug:  # as on arrival: it loses no message
        ledger.bug = bug
        ledger.unjudged += 1
        return None, row or ServiceRequest()
    if row is not None and old.facts is not None and not facts.stale and _state_of(event) == row.state:
        facts = structs.replace(facts, before=decode_facts(old.facts).before)  # the state is present because of this very event
    return facts, after


def _without(row: ServiceRequest | None, old: Misunderstood, others: Sequence[bytes]) -> ServiceRequest | None:
    """Return a row without what a message did to it that was judged as drift: it was counted, and it may have set the flag."""
    if row is None or old.facts is None:
        return row
    if row.events == 1:
        return None
    # The flag stays if a message may have set it that was purged, or that is too far back.
    explained = len(others) == row.events - 1 and not any(decode_facts(facts).drift for facts in others)
    sticky = row.sticky & ~Flag.DRIFT if explained else row.sticky
    return structs.replace(row, events=row.events - 1, sticky=int(sticky))


def _state_of(event: Event) -> str | None:
    return state_text(event.content.state) if isinstance(event.content, StateChange) else None


def times_begun(
    key: Key, reference_id: str | None, before: ServiceRequest | None, after: ServiceRequest, since: Since
) -> tuple[Entering, ...]:
    """Return the times that begin because a request is in another state now."""
    state = present_state(after)
    if not since.watches or state is None or state == present_state(before):
        return ()
    entered = Entered(*key, reference_id, state[0], since.stored(state[1]), since.stored(since.now))
    return (entering(since.watches, entered),)
