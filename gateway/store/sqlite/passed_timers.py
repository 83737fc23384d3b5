"""Timers of states that have passed. No message ended them, because no `[[watch]]` rule was there when the next state came.

They are looked for page by page beside the traffic; the writer then looks again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.core.ledger import decode_request
from gateway.core.watches import present_state
from gateway.store.sqlite import request_rows, watch_rows
from gateway.store.sqlite.columns import milliseconds, text
from gateway.store.sqlite.counting import Changes
from gateway.store.sqlite.hot_rows import Key, Standing
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.request_lookup import Rows
from gateway.store.sqlite.watch_rows import ForeignTimer, TimerKey


def of_page(
    connection: sqlite3.Connection, after: TimerKey, size: int, rows: Rows, *, exact: bool
) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Look at the next `size` timers in the order of their keys, and find such ones.

    Args:
        exact: the store's own time is that of the wall clock, so that a state which passed and came again is told from before.
    Returns what `drop` takes, and the key to go on after; None at the end.
    """
    timers, go_on = watch_rows.timers_after(connection, after, size)
    keys = {_key(timer) for timer in timers}
    kept = request_rows.read(connection, keys) | {key: rows.unflushed[key] for key in keys & rows.unflushed.keys()}
    return [timer for timer in timers if _has_passed(timer, kept.get(_key(timer)), exact=exact)], go_on


def drop(connection: sqlite3.Connection, changes: Changes, *, timers: Sequence[ForeignTimer], ledger: Ledger, exact: bool) -> int:
    """Delete those of some timers whose state has passed. Returns how many."""
    ledger.load(connection, {_key(timer) for timer in timers})
    passed = [timer for timer in timers if _has_passed(timer, ledger.standing(_key(timer)), exact=exact)]
    watch_rows.drop(connection, changes, timers=passed)
    return len(passed)


def _has_passed(timer: ForeignTimer, standing: Standing | None, *, exact: bool) -> bool:
    if standing is None:
        return False
    _, _, _, state, entered_ms = timer
    present = present_state(decode_request(standing.row))
    return present is None or present[0] != text(state) or (exact and milliseconds(present[1]) != entered_ms)


def _key(timer: ForeignTimer) -> Key:
    return timer[0], timer[1].decode()
