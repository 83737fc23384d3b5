"""Finding the messages that an id stands for. A page looks at a bounded number of rows, and says where to go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from gateway.core.references import folded
from gateway.store import bounds
from gateway.store.base import MOST_NAMED
from gateway.store.sqlite import paging, request_lookup
from gateway.store.sqlite.overlay import Rows

Found = tuple[list[int], int | None]
"""Seqs in order, and the seq to go on after (None at the end)."""


def exactly(connection: sqlite3.Connection, text: str, after: int, rows: Rows) -> Found:
    """Find the next messages whose gateway's id, sender's id, SR uuid or reference id this is; at most MOST_NAMED.

    The case of a reference id makes no difference.
    """
    raw, reference = text.encode(), folded(text)
    heads = request_lookup.heads_of_uuid(connection, text, rows) | request_lookup.heads_of_reference(connection, reference, rows)
    found = _chained(connection, heads.values()) if rows.live else None
    if found is None:
        return _walked(
            connection,
            "+id = ?3 OR +sender_id = ?4 OR +sr_uuid = ?4 OR lower(CAST(+reference_id AS TEXT)) = ?5",
            (text, raw, text.lower()),
            after,
        )
    found.update(
        seq
        for (seq,) in connection.execute(
            "SELECT seq FROM messages WHERE id = ?1 UNION ALL SELECT seq FROM messages WHERE sender_id = ?2"
            " UNION ALL SELECT message FROM loose_references WHERE reference = ?3",
            (text, raw, reference),
        )
    )
    return _page(found, after)


def begun(connection: sqlite3.Connection, text: str, after: int, rows: Rows) -> Found:
    """Find the next messages of which one of the first three ids begins like this; at most MOST_NAMED."""
    raw = text.encode()
    ids = (text, f"{text}\uffff", raw, raw + b"\xff")
    heads = request_lookup.heads_begun(connection, text, rows, bounds.FEW_REQUESTS) if rows.live else None
    found = None if heads is None else _chained(connection, heads.values())
    if found is None or _many(connection, "id", *ids[:2]) or _many(connection, "sender_id", *ids[2:]):
        return _walked(
            connection,
            "+id >= ?3 AND +id < ?4 OR +sender_id >= ?5 AND +sender_id < ?6 OR +sr_uuid >= ?5 AND +sr_uuid < ?6",
            ids,
            after,
        )
    found.update(
        seq
        for (seq,) in connection.execute(
            "SELECT seq FROM messages WHERE id >= ? AND id < ?"
            " UNION ALL SELECT seq FROM messages WHERE sender_id >= ? AND sender_id < ?",
            ids,
        )
    )
    return _page(found, after)


def _chained(connection: sqlite3.Connection, heads: Iterable[int]) -> set[int] | None:
    """Read the messages of requests, from their newest ones on; None if there are too many to be put in order."""
    found: set[int] = set()
    for head in heads:
        found.update(request_lookup.chain(connection, head, bounds.FEW_OF_REQUESTS + 1))
        if len(found) > bounds.FEW_OF_REQUESTS:
            return None
    return found


def _walked(connection: sqlite3.Connection, condition: str, values: tuple[object, ...], after: int) -> Found:
    """Find messages by a walk over the table. Needed where very many match, and until the ledger has the older ones.

    The pluses in the condition keep SQLite from an index with another order (sqlite.org/optoverview.html).
    """
    go_on = paging.last_of_the_next(connection, after)
    rows = connection.execute(
        f"SELECT seq FROM messages WHERE seq > ?1 AND seq <= ?2 AND ({condition}) ORDER BY seq LIMIT {MOST_NAMED}",
        (after, bounds.END if go_on is None else go_on, *values),
    )
    seqs = [seq for (seq,) in rows]
    return seqs, seqs[-1] if len(seqs) == MOST_NAMED else go_on


def _many(connection: sqlite3.Connection, column: str, low: object, high: object) -> bool:
    query = f"SELECT 1 FROM messages WHERE {column} >= ? AND {column} < ? LIMIT 1 OFFSET {bounds.FEW_OF_IDS}"
    return connection.execute(query, (low, high)).fetchone() is not None


def _page(found: Collection[int], after: int) -> Found:
    seqs = sorted(seq for seq in found if seq > after)
    page = seqs[:MOST_NAMED]
    return page, page[-1] if len(seqs) > MOST_NAMED else None
