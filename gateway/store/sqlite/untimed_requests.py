"""Service requests that are in a state which a `[[watch]]` rule names, and that have no timer of the rule.

They entered the state before the rule was there, or while messages of an earlier version were still to be read into the ledger.
They are looked for page by page beside the traffic; the writer then looks again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.watches import TimersPlace, Watch
from gateway.store.columns import STANDING, standing_of
from gateway.store.counted import Changes
from gateway.store.hot_rows import Key, Standing
from gateway.store.sqlite import watch_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.standing_timers import Since, beginning, milestones_of, waiting

PAGE: Final = 256
"""Requests of one page, and of one transaction."""


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
            f"SELECT r.source, r.sr_uuid, {STANDING} FROM standings s CROSS JOIN requests r ON r.number = s.request"
            " WHERE s.milestone = ? AND (s.entered_ms, s.request) > (?, ?) ORDER BY s.entered_ms, s.request LIMIT ?",
            (milestone, *begin, PAGE),
        ).fetchall()
        if page:
            rows = [((source, sr_uuid.decode()), standing_of(row)) for source, sr_uuid, *row in page]
            last = rows[-1][1]
            return of_rows(connection, watches, since_ms, rows), TimersPlace(milestone, last.columns.entered_ms, last.number)
    return [], None


def of_rows(
    connection: sqlite3.Connection, watches: Sequence[Watch], since_ms: int, rows: Iterable[tuple[Key, Standing]]
) -> list[Key]:
    """Find such requests among some rows."""
    found: list[Key] = []
    for key, standing in rows:
        watching = set() if standing.columns.entered_ms < since_ms else {rule for rule, _ in waiting(key, standing, watches)}
        if watching:
            query = "SELECT rule FROM watch_timers WHERE source = ? AND sr = ?"
            timed = {rule for (rule,) in connection.execute(query, (key[0], key[1].encode()))}
            if watching - timed:
                found.append(key)
    return found


def begin(connection: sqlite3.Connection, changes: Changes, *, keys: Sequence[Key], ledger: Ledger, since: Since) -> int:
    """Begin the timers that some requests lack. Returns how many."""
    ledger.load(connection, keys)
    return watch_rows.begin_missing(connection, beginning(keys, ledger.standing, since))
