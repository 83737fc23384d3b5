"""Finding service requests by their names, in the file and among the rows that are not flushed yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from gateway.store import bounds
from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import Key
from gateway.store.request_answers import Kept
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.overlay import Rows
from gateway.store.sqlite.request_rows import REQUESTS

Heads = dict[int, int]
"""The seq of the newest message of a request, by the request's number."""
_ROW = f"SELECT r.source, r.sr_uuid, {STANDING} FROM {REQUESTS}"


def chain(connection: sqlite3.Connection, last: int, limit: int) -> list[int]:
    """Read the seqs of a request's messages from one of them back to the first, the newest first, at most `limit`."""
    return [
        seq
        for (seq,) in connection.execute(
            "WITH RECURSIVE chain (seq, before) AS (SELECT message, before FROM entries WHERE message = ?1 UNION ALL"
            " SELECT e.message, e.before FROM chain CROSS JOIN entries e ON e.message = chain.before LIMIT ?2)"
            " SELECT seq FROM chain",
            (last, limit),
        )
    ]


def of_uuid(connection: sqlite3.Connection, sr_uuid: str, rows: Rows) -> Kept:
    """Find the requests with this uuid, one for each source that has it."""
    found = _kept(connection.execute(f"{_ROW} WHERE r.sr_uuid = ?", (sr_uuid.encode(),)))
    return found | rows.of_uuid(sr_uuid)


def of_reference(connection: sqlite3.Connection, reference: bytes, rows: Rows, limit: int) -> Kept:
    """Find requests with this reference id, given in its folded form; at most `limit` of the file, the latest ones."""
    query = f"{_ROW} WHERE r.reference = ? ORDER BY r.number DESC LIMIT ?"
    found = rows.newer(_kept(connection.execute(query, (reference, limit))))
    return found | rows.of_reference(reference)


def begun(connection: sqlite3.Connection, beginning: str, rows: Rows, limit: int) -> Kept:
    """Find requests whose uuid begins like this, in the order of the uuids; at most `limit` of the file."""
    raw = beginning.encode()
    query = f"{_ROW} WHERE r.sr_uuid >= ? AND r.sr_uuid < ? ORDER BY r.sr_uuid LIMIT ?"
    found = rows.newer(_kept(connection.execute(query, (raw, raw + b"\xff", limit))))
    return found | rows.begun(beginning)


def of_messages(connection: sqlite3.Connection, seqs: Iterable[int], rows: Rows) -> Kept:
    """Find the requests that some messages name."""
    keys: set[Key] = set()
    for seq in seqs:
        row = connection.execute("SELECT source, sr_uuid FROM messages WHERE seq = ? AND sr_uuid <> x''", (seq,)).fetchone()
        if row is not None:
            keys.add((row[0], row[1].decode()))
    return rows.newer(request_rows.read(connection, keys)) | rows.of(keys)


def neighbours(connection: sqlite3.Connection, reference: bytes, limit: int) -> list[str]:
    """Read the reference ids that stand before and behind one in the order of the alphabet, `limit` each."""
    found = []
    for condition in ("< ?1 ORDER BY reference DESC", ">= ?1 ORDER BY reference"):
        query = f"SELECT reference_id FROM requests WHERE reference IS NOT NULL AND reference {condition} LIMIT ?2"
        found += [reference_id.decode() for (reference_id,) in connection.execute(query, (reference, limit))]
    return found


def heads_of_uuid(connection: sqlite3.Connection, sr_uuid: str, rows: Rows) -> Heads:
    return _heads(of_uuid(connection, sr_uuid, rows))


def heads_of_reference(connection: sqlite3.Connection, reference: bytes, rows: Rows) -> Heads:
    return _heads(of_reference(connection, reference, rows, bounds.MOST_OF_A_REFERENCE))


def heads_begun(connection: sqlite3.Connection, beginning: str, rows: Rows, limit: int) -> Heads | None:
    """Find the newest messages of the requests whose uuid begins like this; None if there are more than `limit`."""
    raw = beginning.encode()
    many = "SELECT 1 FROM requests WHERE sr_uuid >= ? AND sr_uuid < ? LIMIT 1 OFFSET ?"
    if connection.execute(many, (raw, raw + b"\xff", limit)).fetchone() is not None:
        return None  # found in the index alone: no row is read that is not needed
    return _heads(begun(connection, beginning, rows, limit + 1))


def _heads(kept: Kept) -> Heads:
    return {row.number: row.last for row in kept.values()}


def _kept(rows: Iterable[tuple[object, ...]]) -> Kept:
    found: Kept = {}
    for source, sr_uuid, *row in rows:
        assert isinstance(source, str) and isinstance(sr_uuid, bytes)
        found[source, sr_uuid.decode()] = standing_of(row)
    return found
