"""Judges the events of a service request again, by what is known of it now. Pure: the facts of arrival are never rewritten.

By what is known now means: as if every event had arrived in the order in which it happened. The order of arrival takes no part in
that, so every permutation of the same events gets the same facts. In that order no event is late, and a state that came late but
had happened before an event was not skipped by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct, structs

from gateway.core.events import Event, StateChange
from gateway.core.judge import instant_of, judge
from gateway.core.ledger import SUBMITTED, Facts, ServiceRequest, rank_of, state_text

FactName = Literal["stale", "round", "skipped", "terminal_regression", "undated", "future", "state.before"]
"""The facts that are compared, by the names that patterns use."""


class KnownEvent(NamedTuple):
    """An event of a service request, as it is stored."""

    event: Event
    at: float
    """When it arrived, in Unix seconds, UTC."""


class Otherwise(Struct, frozen=True):
    """A fact about an event that would be judged otherwise today."""

    fact: FactName
    then: Any
    """Its value as judged on arrival. `terminal_regression` and `state.before` are None if they do not apply."""
    now: Any
    """Its value by what is known now."""


def facts_by_now(every: Sequence[KnownEvent]) -> list[Facts]:
    """Return the facts of all events of one service request by what is known now, in the order in which they were given.

    Args:
        every: every event of the request, in any order; each counts once. An event that is missing here is not known.
    """
    places = sorted((_place(known, number) for number, known in enumerate(every)), key=lambda place: place.key)
    found: dict[int, Facts] = {}
    row: ServiceRequest | None = None
    for at_ms, of_instant in groupby(places, key=lambda place: place.key.at_ms):
        alike = list(of_instant)
        for _, twins in groupby(alike, key=lambda place: place.key):
            before = row
            for place in twins:
                known = every[place.number]
                # Twins are judged against what was before all of them: nothing else says which of them came first.
                found[place.number], after = judge(before, *known)
                row = after if row is before else judge(row, *known)[1]
        for place in alike:
            # The round at an instant counts all that happened until then, also what has a higher rank.
            belongs_to = 0 if row is None else row.round_at(at_ms, submitting=place.key.state == SUBMITTED)
            found[place.number] = structs.replace(found[place.number], round=belongs_to)
    return [found[number] for number in range(len(every))]


def otherwise(then: Facts, now: Facts) -> tuple[Otherwise, ...]:
    """Return the facts that differ, in the order of `FactName`; empty if an event would be judged today as it was on arrival."""
    pairs = ((name, getattr(then, field), getattr(now, field)) for name, field in _FIELDS)
    return tuple(Otherwise(name, was, value) for name, was, value in pairs if was != value)


_FIELDS: Final[tuple[tuple[FactName, str], ...]] = (
    ("stale", "stale"),
    ("round", "round"),
    ("skipped", "skipped"),
    ("terminal_regression", "terminal_regression"),
    ("undated", "undated"),
    ("future", "future"),
    ("state.before", "before"),
)


class _Key(NamedTuple):
    """The place of an event in the order in which events happened."""

    at_ms: int
    stateless: bool
    """An event without a state follows the states of its instant: the reasons of a rejection follow the rejection."""
    rank: int
    state: str
    meaning: str


class _Place(NamedTuple):
    key: _Key
    number: int
    """The number of the event as it was given."""


def _place(known: KnownEvent, number: int) -> _Place:
    event = known.event
    at_ms, _, _ = instant_of(event, round(known.at * 1000), None)
    if isinstance(event.content, StateChange):
        state = state_text(event.content.state)
        return _Place(_Key(at_ms, False, rank_of(state), state, event.milestone.value), number)
    return _Place(_Key(at_ms, True, 0, "", event.milestone.value), number)
