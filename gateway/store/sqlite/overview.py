"""The numbers of one status screen, read in one snapshot. The rows that it walks are bounded, whatever waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gateway.core.attention import MOST_COUNTED
from gateway.core.documents import FileSizes, LastFailure, Overview
from gateway.store.sqlite.claims import oldest_since
from gateway.store.sqlite.counting import counts

_DUE = "SELECT message FROM deliveries WHERE sink = ?1 AND state = 'queued' AND behind = {} ORDER BY due_ms {} LIMIT 1"
_ENDS_OF_DUE = " UNION ".join(f"SELECT * FROM ({_DUE.format(behind, order)})" for behind in (0, 1) for order in ("ASC", "DESC"))
_LAST_DEAD = "SELECT message FROM deliveries WHERE sink = ?1 AND state = 'dead' ORDER BY message DESC LIMIT 1"


def overview(connection: sqlite3.Connection) -> Overview:
    """Read the numbers of all sinks in one snapshot."""
    connection.execute("BEGIN")  # one snapshot for all queries
    try:
        by_sink = counts(connection)
        waiting = [sink for sink, number in by_sink.items() if number.queued]
        oldest = {sink: since for sink in waiting if (since := oldest_since(connection, sink)) is not None}
        (free_pages,), (page_size,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size")
        )
        return Overview(
            by_sink,
            oldest,
            quarantined=_count(connection, "quarantined"),
            unrouted=_count(connection, "unrouted"),
            free_bytes=free_pages * page_size,
        )
    finally:
        connection.execute("ROLLBACK")


def last_failures(connection: sqlite3.Connection, sinks: Sequence[str]) -> dict[str, LastFailure]:
    """Read the last failure of each sink that has one."""
    return {sink: found for sink in sinks if (found := last_failure(connection, sink)) is not None}


def last_failure(connection: sqlite3.Connection, sink: str) -> LastFailure | None:
    """Read the last attempt that failed, among the deliveries that tell most about a sink."""
    row = connection.execute(
        "SELECT started_ms, reason, status, detail FROM attempts WHERE sink = ?1 AND outcome <> 'delivered' AND message IN"
        f" (SELECT * FROM ({_LAST_DEAD}) UNION {_ENDS_OF_DUE})"
        " ORDER BY started_ms DESC LIMIT 1",
        (sink,),
    ).fetchone()
    return None if row is None else LastFailure(row[0] / 1000, *row[1:])


def sizes(database: Path) -> FileSizes:
    """Return the sizes of the files, 0 for a file that is not there. No file is opened."""
    return FileSizes(*(_size(database.with_name(database.name + suffix)) for suffix in ("", "-wal")))


def _count(connection: sqlite3.Connection, status: str) -> int:
    # The second condition is the index's own: without it SQLite would not take it.
    query = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = ? AND status <> 'accepted' LIMIT ?)"
    number: int = connection.execute(query, (status, MOST_COUNTED)).fetchone()[0]
    return number


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
