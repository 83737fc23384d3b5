"""Timers of states that have passed. No message ended them, because no `[[watch]]` rule was there when the next state came.

They are looked for page by page beside the traffic; the writer then looks again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.store.counted import Changes
from gateway.store.sqlite import request_rows, watch_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.overlay import Rows
from gateway.store.standing_timers import has_passed, request_of
from gateway.store.timer_rows import ForeignTimer, TimerKey


def of_page(
    connection: sqlite3.Connection, after: TimerKey, size: int, rows: Rows, *, exact: bool
) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Look at the next `size` timers in the order of their keys, and find such ones.

    Args:
        exact: the store's own time is that of the wall clock, so that a state which passed and came again is told from before.
    Returns what `drop` takes, and the key to go on after; None at the end.
    """
    timers, go_on = watch_rows.timers_after(connection, after, size)
    keys = {request_of(timer) for timer in timers}
    kept = request_rows.read(connection, keys) | rows.of(keys)
    return [timer for timer in timers if has_passed(timer, kept.get(request_of(timer)), exact=exact)], go_on


def drop(connection: sqlite3.Connection, changes: Changes, *, timers: Sequence[ForeignTimer], ledger: Ledger, exact: bool) -> int:
    """Delete those of some timers whose state has passed. Returns how many."""
    ledger.load(connection, {request_of(timer) for timer in timers})
    passed = [timer for timer in timers if has_passed(timer, ledger.standing(request_of(timer)), exact=exact)]
    watch_rows.drop(connection, changes, timers=passed)
    return len(passed)
