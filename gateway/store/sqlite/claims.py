"""Reading the due and the expired deliveries of a sink, from the indexes of open deliveries. Writes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from gateway.core.records import BYTES_BESIDE_BODY, Claimed, Owed
from gateway.store.base import MOST_CLAIMED_BYTES
from gateway.store.columns import MESSAGE_COLUMNS, message_of, milliseconds
from gateway.store.sqlite.sink_rows import away_of
from gateway.store.sqlite.timeline_row import read_timeline

_OPEN = "SELECT message, due_ms FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued' AND behind = {}"
_FIRST_DUE = " ORDER BY due_ms, message LIMIT ?2"
_NOT_BEHIND = _OPEN.format(0) + _FIRST_DUE
"""The deliveries that may go if the sink is ordered."""
_WAITING = f"{_OPEN.format(0)} UNION ALL {_OPEN.format(1)}{_FIRST_DUE}"
"""All open deliveries, merged from two walks over the index."""
_EXPIRED_WHILE_DUE = (
    "SELECT * FROM (SELECT message, since_ms FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued'"
    " AND behind = {} AND due_ms <= ?2 AND since_ms <= ?2 ORDER BY due_ms, message LIMIT ?3)"
)
_EXPIRED = (
    "SELECT message FROM (SELECT * FROM (SELECT message, since_ms FROM deliveries INDEXED BY deliveries_by_since"
    " WHERE sink = ?1 AND state = 'queued' AND due_ms > since_ms AND since_ms <= ?2 ORDER BY since_ms, message LIMIT ?3)"
    f" UNION {_EXPIRED_WHILE_DUE.format(0)} UNION {_EXPIRED_WHILE_DUE.format(1)}) ORDER BY since_ms, message LIMIT ?3"
)
"""Two kinds: those due after they were accepted, by age; and those due at once, by due time, which is their age as well."""
_JOINS = "EXISTS (SELECT 1 FROM joins j WHERE j.message = d.message AND j.sink = d.sink)"
"""Another message may go out with the delivery."""
_OLDEST = (
    "SELECT min(since_ms) FROM (SELECT min(since_ms) AS since_ms FROM deliveries INDEXED BY deliveries_by_since"
    " WHERE sink = ?1 AND state = 'queued' AND due_ms > since_ms"
    + "".join(
        " UNION ALL SELECT * FROM (SELECT since_ms FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued'"
        f" AND behind = {behind} ORDER BY due_ms LIMIT 1)"
        for behind in (0, 1)
    )
    + ")"
)


def claim(
    connection: sqlite3.Connection,
    sink: str,
    now: float,
    limit: int,
    busy: Collection[int],
    *,
    by_sr: bool = False,
    room: int = MOST_CLAIMED_BYTES,
) -> Claimed:
    """Read up to `limit` due deliveries of a sink, oldest first, see `base.Delivering.claim`.

    Deliveries in flight are known in memory only (`busy`), so after a crash they are due again.
    """
    connection.execute("BEGIN")  # one snapshot for all queries
    try:
        seen_to = connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0
        rows = connection.execute(_NOT_BEHIND if by_sr else _WAITING, (sink, limit + len(busy) + 1)).fetchall()
        waiting = [(seq, due_ms) for seq, due_ms in rows if seq not in busy]
        due = [seq for seq, due_ms in waiting if due_ms <= milliseconds(now)]
        fitting = _fitting(connection, due[:limit], room)
        more = len(due) > len(fitting)
        next_due = None if more else next((due_ms / 1000 for _, due_ms in waiting[len(due) :]), None)
        return Claimed(_owed(connection, sink, fitting), more, next_due, seen_to)
    finally:
        connection.execute("ROLLBACK")


def expired(connection: sqlite3.Connection, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
    """Read up to `limit` open deliveries of a sink that were accepted or replayed before an instant, due or not.

    Their bodies are left out, because nobody sends them any more.
    """
    rows = connection.execute(_EXPIRED, (sink, milliseconds(before) - away_of(connection, sink), limit + len(busy))).fetchall()
    return _owed(connection, sink, [seq for (seq,) in rows if seq not in busy][:limit], body="x''")


def oldest_due(connection: sqlite3.Connection, sink: str, *, by_sr: bool = False) -> float | None:
    """Read when the delivery of a sink that waits longest was, or will be, due; with `by_sr`, of those that may go."""
    row = connection.execute(_NOT_BEHIND if by_sr else _WAITING, (sink, 1)).fetchone()
    return row[1] / 1000 if row else None


def oldest_since(connection: sqlite3.Connection, sink: str) -> float | None:
    """Read when the oldest open delivery of a sink was accepted or replayed, by the wall clock of now, Unix seconds."""
    (since_ms,) = connection.execute(_OLDEST, (sink,)).fetchone()
    if since_ms is None:
        return None
    jumped_ms, _ = read_timeline(connection)
    return float(since_ms + jumped_ms + away_of(connection, sink)) / 1000


def _fitting(connection: sqlite3.Connection, seqs: list[int], room: int) -> list[int]:
    """Return the first of these messages, as many as fit into `room` bytes of memory, but at least one."""
    marks = ",".join("?" * len(seqs))
    sizes = dict(connection.execute(f"SELECT seq, length(body) FROM messages WHERE seq IN ({marks})", seqs).fetchall())
    fitting: list[int] = []
    total = 0
    for seq in seqs:
        total += sizes.get(seq, 0) + BYTES_BESIDE_BODY
        if fitting and total > room:
            break
        fitting.append(seq)
    return fitting


def _owed(connection: sqlite3.Connection, sink: str, seqs: list[int], *, body: str = "m.body") -> tuple[Owed, ...]:
    columns = MESSAGE_COLUMNS.replace("m.body", body)
    marks = ",".join("?" * len(seqs))
    away_ms = away_of(connection, sink)
    rows = connection.execute(
        f"SELECT d.message, d.since_ms, d.attempts, d.retries, {_JOINS}, {columns} FROM deliveries d"
        f" JOIN messages m ON m.seq = d.message WHERE d.sink = ? AND d.message IN ({marks}) AND d.state = 'queued'",
        (sink, *seqs),
    ).fetchall()
    found = {
        row[0]: Owed(
            seq=row[0],
            sink=sink,
            since=(row[1] + away_ms) / 1000,
            attempts=row[2],
            retries=row[3],
            joins=bool(row[4]),
            message=message_of(row[5:]),
        )
        for row in rows
    }
    return tuple(found[seq] for seq in seqs if seq in found)
