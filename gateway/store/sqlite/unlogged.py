"""Committed steps whose audit lines may not be written yet: each transaction keeps its own until the lines are written.

A process that is killed between a commit and its lines leaves the steps here, in the order of the missing lines.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.core.records import Step
from gateway.store.counted import Changes
from gateway.store.steps import decode_steps, encode_steps


def note(connection: sqlite3.Connection, steps: Sequence[Step]) -> int:
    """Keep steps, in the transaction that makes them. Returns their mark; 0 if there are none."""
    if not steps:
        return 0
    return connection.execute("INSERT INTO unlogged (steps) VALUES (?)", (encode_steps(steps),)).lastrowid or 0


def newest(connection: sqlite3.Connection) -> int:
    """Read the mark of the newest kept commit; 0 if none is kept."""
    mark: int = connection.execute("SELECT coalesce(max(id), 0) FROM unlogged").fetchone()[0]
    return mark


def forget(connection: sqlite3.Connection, mark: int) -> None:
    """Drop the steps up to a mark: their lines are written."""
    connection.execute("DELETE FROM unlogged WHERE id <= ?", (mark,))


def forget_one(connection: sqlite3.Connection, mark: int) -> None:
    """Drop the steps of one mark."""
    connection.execute("DELETE FROM unlogged WHERE id = ?", (mark,))


def forget_lives_before(connection: sqlite3.Connection, changes: Changes, *, mark: int) -> None:
    """Drop the steps of earlier lives, which end at a mark: the catch-up has written their lines."""
    forget(connection, mark)


def kept(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, list[Step]]]:
    """Read a page of kept commits: the mark and the steps of each."""
    rows = connection.execute("SELECT id, steps FROM unlogged WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [(mark, decode_steps(steps)) for mark, steps in rows]
