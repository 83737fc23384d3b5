"""Pages of messages in the reverse order of acceptance, of bounded cost as those of `paging`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.core.selection import Selection
from gateway.store import bounds
from gateway.store.sqlite import arrivals
from gateway.store.sqlite.paging import conditions, window

_BLOCKS_DOWN: Final = "WITH RECURSIVE blocks (block) AS (VALUES (?1) UNION ALL SELECT block - 1 FROM blocks WHERE block > ?2)"
"""The blocks from the first parameter down to the second."""


def messages(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
) -> tuple[list[int], int | None]:
    """Find the messages that a selection names before a seq, at most `limit`, the newest first; and the seq to go on before.

    Args:
        before: None begins with the newest message.
    """
    begun = bounds.END if before is None else before
    start, go_on = (begun, None) if seqs is not None else _begin(connection, selection, begun)
    if start is None:
        return [], go_on
    last = None if seqs is not None else _last_message(connection, selection, start)
    where, values = conditions(selection, seqs)
    if selection.status is not None:
        where += " AND m.status = ?"
        if selection.status != "accepted":
            where += " AND m.status <> 'accepted'"  # said twice: only then does SQLite use the index of the other statuses
        values.append(selection.status)
    rows = connection.execute(
        f"SELECT m.seq FROM messages m WHERE m.seq < ? AND m.seq >= ?{where} ORDER BY m.seq DESC LIMIT ?",
        (start, 0 if last is None else last, *values, limit),
    ).fetchall()
    found = [seq for (seq,) in rows]
    return found, found[-1] if len(found) == limit else last


def _begin(connection: sqlite3.Connection, selection: Selection, before: int) -> tuple[int | None, int | None]:
    """Find the seq behind the next block, downwards, that has a message of the window of time.

    If the page finds no such block: None, and the seq to go on before (None if there is none below).
    """
    if selection.since is None and selection.until is None:
        return before, None
    since, until = window(selection)
    row = connection.execute("SELECT seq >> 8 FROM messages WHERE seq < ? ORDER BY seq DESC LIMIT 1", (before,)).fetchone()
    if row is None:
        return None, None
    (oldest,) = connection.execute("SELECT min(seq) >> 8 FROM messages").fetchone()
    last = arrivals.last_block(connection, since, until, row[0])
    if last is None or last < oldest:
        return None, None
    first = max(oldest, last - bounds.BLOCKS + 1)
    row = connection.execute(
        f"{_BLOCKS_DOWN} SELECT block FROM blocks CROSS JOIN messages INDEXED BY messages_by_time ON seq >> 8 = block"
        " AND received_ms >= ?3 AND received_ms < ?4 LIMIT 1",
        (last, first, since, until),
    ).fetchone()
    if row is None:
        return None, None if first <= oldest else first << 8
    return min(before, (row[0] + 1) << 8), None


def _last_message(connection: sqlite3.Connection, selection: Selection, before: int) -> int | None:
    """Find the last of the LOOKED_AT messages that a page looks at; None if there are fewer."""
    if selection.status in (None, "accepted"):
        query = "SELECT seq FROM messages WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
        row = connection.execute(query, (before, bounds.LOOKED_AT - 1)).fetchone()
    else:
        query = (
            "SELECT seq FROM messages INDEXED BY messages_by_status WHERE status = ? AND status <> 'accepted' AND seq < ?"
            " ORDER BY seq DESC LIMIT 1 OFFSET ?"
        )
        row = connection.execute(query, (selection.status, before, bounds.LOOKED_AT - 1)).fetchone()
    return None if row is None else int(row[0])
