"""Dead deliveries with the last answer to each, and the last attempts at a sink: newest first, at a bounded cost."""

from __future__ import annotations

import heapq
import sqlite3
from contextlib import ExitStack, closing
from itertools import islice
from typing import Final

from gateway.core.documents import DeadDelivery, DeadPage, SinkAttempt
from gateway.core.selection import Target
from gateway.store import bounds
from gateway.store.columns import ATTEMPT, attempt_of
from gateway.store.sqlite.paging import sinks_with

_DEAD: Final = (
    "SELECT message, sink FROM deliveries INDEXED BY deliveries_dead WHERE state = 'dead' AND sink = ?1 AND message <= ?2"
    " ORDER BY message DESC"
)
_FACTS: Final = (
    "SELECT d.ended_ms, d.reason, e.request, a.status, a.detail, a.answer FROM deliveries d"
    " LEFT JOIN attempts a ON a.message = d.message AND a.sink = d.sink AND a.attempt = d.attempts"
    " LEFT JOIN entries e ON e.message = d.message WHERE d.message = ? AND d.sink = ? AND d.state = 'dead'"
)
_OPEN: Final = (
    "SELECT message FROM (SELECT message FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued'"
    " AND behind = 0 ORDER BY due_ms LIMIT ?2)"
)
_LAST_DEAD: Final = (
    "SELECT message FROM (SELECT message FROM deliveries WHERE sink = ?1 AND state = 'dead' ORDER BY message DESC LIMIT ?2)"
)


def dead(connection: sqlite3.Connection, sink: str | None, before: Target | None, limit: int) -> DeadPage:
    """Read a page of dead deliveries, by message and then sink, both downwards, at most `bounds.MOST_DEAD`."""
    size = min(limit, bounds.MOST_DEAD)
    start = (bounds.END, "") if before is None else (before.seq, before.sink)
    sinks = [sink] if sink is not None else list(sinks_with(connection, "dead", "deliveries_dead"))
    with ExitStack() as stack:
        each = [stack.enter_context(closing(connection.execute(_DEAD, (name, start[0])))) for name in sinks]
        merged = (row for row in heapq.merge(*each, reverse=True) if row < start)
        entries = list(islice(merged, size))
    found = []
    for seq, name in entries:
        if (row := connection.execute(_FACTS, (seq, name)).fetchone()) is not None:
            ended_ms, reason, request, status, detail, answer = row
            found.append(DeadDelivery(seq, name, ended_ms / 1000, reason, request, status, detail or "", answer or ""))
    return DeadPage(tuple(found), Target(*entries[-1]) if len(entries) == size else None)


def last_attempts(connection: sqlite3.Connection, sink: str, limit: int) -> list[SinkAttempt]:
    """Read the last attempts at a sink, the newest first, as far as a bounded look finds them.

    It looks at the newest messages, and at deliveries that wait for another attempt or died last.
    """
    rows = connection.execute(
        f"SELECT m.id, {ATTEMPT} FROM (SELECT message, sink, attempt FROM attempts"
        " WHERE message > (SELECT max(seq) FROM messages) - ?3 ORDER BY message DESC LIMIT ?3) newest"
        " JOIN attempts a ON a.message = newest.message AND a.sink = newest.sink AND a.attempt = newest.attempt"
        " JOIN messages m ON m.seq = a.message WHERE newest.sink = ?1"
        f" UNION SELECT m.id, {ATTEMPT} FROM (SELECT * FROM ({_OPEN}) UNION SELECT * FROM ({_LAST_DEAD})) waits"
        " CROSS JOIN attempts a ON a.message = waits.message AND a.sink = ?1 JOIN messages m ON m.seq = a.message"
        " ORDER BY started_ms DESC LIMIT ?4",
        (sink, bounds.WAITING, bounds.NEWEST, limit),
    ).fetchall()
    return [SinkAttempt(row[0], attempt_of(row[1:])) for row in rows]
