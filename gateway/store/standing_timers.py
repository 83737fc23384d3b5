"""Which timers belong to the present state of a service request: some are missing, and some have passed. It knows no database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.core.events import Milestone
from gateway.core.ledger import KNOWN_STATES, decode_request, milestone_of
from gateway.core.routing import GATEWAY
from gateway.core.watches import Entered, Watch, present_state
from gateway.store.columns import milliseconds, text
from gateway.store.hot_rows import CODES, Key, Standing
from gateway.store.timer_rows import ForeignTimer


class Since(NamedTuple):
    """The times of `[[watch]]` rules that may begin with a message."""

    watches: Sequence[Watch]
    now: float
    """The instant at which the message counts as arrived, by the wall clock."""
    stored: Callable[[float], float]
    """Turns an instant of the wall clock into one of the store's own time."""


def milestones_of(watches: Sequence[Watch]) -> list[int]:
    """Return the milestones of the states that some rules name, as the column has them, the least first."""
    named = {milestone_of(state) for watch in watches for state in {*watch.states, *filter(watch.watches, KNOWN_STATES)}}
    return sorted(CODES[milestone] for milestone in named | {Milestone.UNRECOGNIZED})


def beginning(keys: Iterable[Key], standing_of: Callable[[Key], Standing | None], since: Since) -> list[tuple[Entered, str]]:
    """Return the timers that the present states of some requests ask for, each with its rule."""
    entered: list[tuple[Entered, str]] = []
    for key in keys:
        if (standing := standing_of(key)) is None:
            continue
        for rule, (state, at) in waiting(key, standing, since.watches):
            one = Entered(*key, standing.reference_id, state, since.stored(at), since.stored(since.now))
            entered.append((one, rule))
    return entered


def waiting(key: Key, standing: Standing, watches: Sequence[Watch]) -> list[tuple[str, tuple[str, float]]]:
    """Return the rules that watch the present state of a request, each with the state and its instant."""
    if key[0] == GATEWAY or (present := present_state(standing.request)) is None:
        return []
    return [(watch.name, present) for watch in watches if watch.watches(present[0])]


def has_passed(timer: ForeignTimer, standing: Standing | None, *, exact: bool) -> bool:
    """Return True if a request has left the state of a timer.

    Args:
        exact: the store's own time is that of the wall clock, so that a state which passed and came again is told from before.
    """
    if standing is None:
        return False
    _, _, _, state, entered_ms = timer
    present = present_state(decode_request(standing.row))
    return present is None or present[0] != text(state) or (exact and milliseconds(present[1]) != entered_ms)


def request_of(timer: ForeignTimer) -> Key:
    """Return the service request of a timer."""
    return timer[0], timer[1].decode()
