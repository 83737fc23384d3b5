"""Finding the messages that an id stands for. A page looks at a bounded number of blocks or rows, and says where to go on."""

from __future__ import annotations

import sqlite3

from gateway.store.base import MOST_NAMED
from gateway.store.sqlite import paging

_FEW = 10_000
"""Ids with the same beginning that a page puts in order; more of them are a good part of the table, which is walked instead."""

Found = tuple[list[int], int | None]
"""Seqs in order, and the seq to go on after (None at the end)."""


def exactly(connection: sqlite3.Connection, text: str, after: int) -> Found:
    """Find the next messages whose gateway's id, sender's id, SR uuid or reference id this is; at most MOST_NAMED."""
    first, last, go_on = paging.blocks(connection, after)
    rows = connection.execute(
        f"{paging.IN_BLOCKS} SELECT seq FROM messages WHERE id = ?5 AND seq > ?3 AND seq <= ?4"
        " UNION SELECT seq FROM messages WHERE sender_id = ?6 AND +seq > ?3 AND +seq <= ?4"
        " UNION SELECT * FROM (SELECT seq FROM blocks CROSS JOIN messages INDEXED BY messages_by_sr ON seq >> 8 = block"
        " AND sr_uuid = ?6 AND seq > ?3 AND seq <= ?4 LIMIT ?7)"  # block by block they come in the order of the seqs
        " UNION SELECT * FROM (SELECT seq FROM blocks CROSS JOIN messages INDEXED BY messages_by_reference ON seq >> 8 = block"
        " AND reference_id = ?6 AND seq > ?3 AND seq <= ?4 LIMIT ?7) ORDER BY seq LIMIT ?7",
        (first, last, after, _upto(go_on), text, text.encode(), MOST_NAMED),
    )
    return _page(rows, go_on)


def begun(connection: sqlite3.Connection, text: str, after: int) -> Found:
    """Find the next messages of which one of the first three ids begins like this; at most MOST_NAMED."""
    raw = text.encode()
    ids = (text, f"{text}\uffff", raw, raw + b"\xff")
    first, last, go_on = paging.blocks(connection, after)
    many_srs = (
        f"{paging.IN_BLOCKS} SELECT 1 FROM blocks CROSS JOIN messages INDEXED BY messages_by_sr ON seq >> 8 = block"
        f" AND sr_uuid >= ?3 AND sr_uuid < ?4 LIMIT 1 OFFSET {_FEW}"
    )
    if (
        _many(connection, "id", *ids[:2])
        or _many(connection, "sender_id", *ids[2:])
        or connection.execute(many_srs, (first, last, *ids[2:])).fetchone() is not None
    ):
        return _begun_of_many(connection, ids, after)
    # The plus keeps SQLite from walking the table by seq instead of an index of ids (sqlite.org/optoverview.html).
    rows = connection.execute(
        f"{paging.IN_BLOCKS} SELECT seq FROM messages WHERE id >= ?5 AND id < ?6 AND +seq > ?3 AND +seq <= ?4"
        " UNION SELECT seq FROM messages WHERE sender_id >= ?7 AND sender_id < ?8 AND +seq > ?3 AND +seq <= ?4"
        " UNION SELECT seq FROM blocks CROSS JOIN messages INDEXED BY messages_by_sr ON seq >> 8 = block"
        " AND sr_uuid >= ?7 AND sr_uuid < ?8 AND seq > ?3 AND seq <= ?4 ORDER BY seq LIMIT ?9",
        (first, last, after, _upto(go_on), *ids, MOST_NAMED),
    )
    return _page(rows, go_on)


def _begun_of_many(connection: sqlite3.Connection, ids: tuple[str, str, bytes, bytes], after: int) -> Found:
    go_on = paging.last_of_the_next(connection, after)
    rows = connection.execute(
        "SELECT seq FROM messages WHERE seq > ?1 AND seq <= ?2 AND (+id >= ?3 AND +id < ?4"
        " OR +sender_id >= ?5 AND +sender_id < ?6 OR +sr_uuid >= ?5 AND +sr_uuid < ?6) ORDER BY seq LIMIT ?7",
        (after, _upto(go_on), *ids, MOST_NAMED),
    )
    return _page(rows, go_on)


def _many(connection: sqlite3.Connection, column: str, low: object, high: object) -> bool:
    query = f"SELECT 1 FROM messages WHERE {column} >= ? AND {column} < ? LIMIT 1 OFFSET {_FEW}"
    return connection.execute(query, (low, high)).fetchone() is not None


def _page(rows: sqlite3.Cursor, go_on: int | None) -> Found:
    seqs = [seq for (seq,) in rows]
    return seqs, seqs[-1] if len(seqs) == MOST_NAMED else go_on


def _upto(go_on: int | None) -> int:
    return paging.END if go_on is None else go_on
