"""Service requests that are in a state which a `[[watch]]` rule names, and that have no timer of the rule.

They entered the state before the rule was there, or while messages of an earlier version were still to be read into the ledger.
They are looked for page by page beside the traffic; the writer then looks again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.events import Milestone
from gateway.core.ledger import KNOWN_STATES, milestone_of
from gateway.core.routing import GATEWAY
from gateway.core.watches import Entered, TimersPlace, Watch, present_state
from gateway.store.sqlite import request_rows, watch_rows
from gateway.store.sqlite.counting import Changes
from gateway.store.sqlite.hot_rows import Key, Standing
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.rejudging import Since

PAGE: Final = 256
"""Requests of one page, and of one transaction."""


def milestones_of(watches: Sequence[Watch]) -> list[int]:
    """Return the milestones of the states that some rules name, as the column has them, the least first."""
    named = {milestone_of(state) for watch in watches for state in {*watch.states, *filter(watch.watches, KNOWN_STATES)}}
    return sorted(request_rows.code_of(milestone) for milestone in named | {Milestone.UNRECOGNIZED})


def of_page(
    connection: sqlite3.Connection, watches: Sequence[Watch], since_ms: int, after: TimersPlace | None
) -> tuple[list[Key], TimersPlace | None]:
    """Find such requests in the next page of those in the file whose state began at an instant or later.

    Returns the place to go on after, too; None at the end.
    """
    for milestone in milestones_of(watches):
        if after is not None and milestone < after.milestone:
            continue
        begin = (after.entered_ms, after.number) if after is not None and milestone == after.milestone else (since_ms, -1)
        page = connection.execute(
            f"SELECT r.source, r.sr_uuid, {request_rows.STANDING} FROM standings s CROSS JOIN requests r ON r.number = s.request"
            " WHERE s.milestone = ? AND (s.entered_ms, s.request) > (?, ?) ORDER BY s.entered_ms, s.request LIMIT ?",
            (milestone, *begin, PAGE),
        ).fetchall()
        if page:
            rows = [((source, sr_uuid.decode()), request_rows.standing_of(row)) for source, sr_uuid, *row in page]
            last = rows[-1][1]
            return of_rows(connection, watches, since_ms, rows), TimersPlace(milestone, last.columns.entered_ms, last.number)
    return [], None


def of_rows(
    connection: sqlite3.Connection, watches: Sequence[Watch], since_ms: int, rows: Iterable[tuple[Key, Standing]]
) -> list[Key]:
    """Find such requests among some rows."""
    found: list[Key] = []
    for key, standing in rows:
        watching = set() if standing.columns.entered_ms < since_ms else {rule for rule, _ in _waiting(key, standing, watches)}
        if watching:
            query = "SELECT rule FROM watch_timers WHERE source = ? AND sr = ?"
            timed = {rule for (rule,) in connection.execute(query, (key[0], key[1].encode()))}
            if watching - timed:
                found.append(key)
    return found


def begin(connection: sqlite3.Connection, changes: Changes, *, keys: Sequence[Key], ledger: Ledger, since: Since) -> int:
    """Begin the timers that some requests lack. Returns how many."""
    ledger.load(connection, keys)
    entered: list[tuple[Entered, str]] = []
    for key in keys:
        if (standing := ledger.standing(key)) is None:
            continue
        for rule, (state, at) in _waiting(key, standing, since.watches):
            one = Entered(*key, standing.reference_id, state, since.stored(at), since.stored(since.now))
            entered.append((one, rule))
    return watch_rows.begin_missing(connection, entered)


def _waiting(key: Key, standing: Standing, watches: Sequence[Watch]) -> list[tuple[str, tuple[str, float]]]:
    """Return the rules that watch the present state of a request, each with the state and its instant."""
    if key[0] == GATEWAY or (present := present_state(standing.request)) is None:
        return []
    return [(watch.name, present) for watch in watches if watch.watches(present[0])]
