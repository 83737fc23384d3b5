"""The row that remembers how far the wall clock has jumped, see `store.timeline`."""

from __future__ import annotations

import sqlite3

from gateway.store.columns import milliseconds
from gateway.store.counted import Changes


def read_timeline(connection: sqlite3.Connection) -> tuple[int, float]:
    """Read the milliseconds of all jumps of the wall clock, and its last instant that was kept; (0, 0.0) at first."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'timeline'").fetchone():
        return 0, 0.0  # a database with the scripts of an earlier version only
    row = connection.execute("SELECT jumped_ms, seen_ms FROM timeline").fetchone()
    return (row[0], row[1] / 1000) if row else (0, 0.0)


def keep_time(connection: sqlite3.Connection, changes: Changes, *, jumped_ms: int, seen: float) -> None:
    """Remember the jumps of the wall clock, and what it says now."""
    connection.execute("UPDATE timeline SET jumped_ms = ?, seen_ms = ?", (jumped_ms, milliseconds(seen)))
