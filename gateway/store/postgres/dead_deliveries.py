"""Dead deliveries with the last answer to each, and the last attempts at a sink: newest first, at a bounded cost."""

from __future__ import annotations

from typing import Final

from gateway.core.documents import DeadDelivery, DeadPage, SinkAttempt
from gateway.core.selection import Target
from gateway.store import bounds
from gateway.store.columns import ATTEMPT, attempt_of
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.selecting import Values, findable

_DEAD: Final = (
    "SELECT d.message, d.sink, d.ended_ms, d.reason, e.request, a.status, a.detail, a.answer FROM deliveries d"
    " LEFT JOIN attempts a ON a.message = d.message AND a.sink = d.sink AND a.attempt = d.attempts"
    " LEFT JOIN entries e ON e.message = d.message WHERE d.state = 'dead' AND (d.message, d.sink) < ($1, $2){}"
    " ORDER BY d.message DESC, d.sink DESC LIMIT $3"
)
_NEWEST: Final = (
    "SELECT message, sink, attempt FROM attempts WHERE message > (SELECT max(seq) FROM messages) - $3"
    " ORDER BY message DESC LIMIT $3"
)
_WAITING: Final = (
    "(SELECT message FROM deliveries WHERE sink = $1 AND state = 'queued' AND NOT behind ORDER BY due_ms LIMIT $2) UNION"
    " (SELECT message FROM deliveries WHERE sink = $1 AND state = 'dead' ORDER BY message DESC LIMIT $2)"
)
_LAST: Final = (
    f"WITH newest AS MATERIALIZED ({_NEWEST}), waits AS MATERIALIZED ({_WAITING}), keys AS MATERIALIZED"
    " (SELECT message, attempt FROM newest WHERE sink = $1"
    " UNION SELECT a.message, a.attempt FROM waits w JOIN attempts a ON a.message = w.message AND a.sink = $1)"
    f" SELECT m.id, {ATTEMPT} FROM keys k JOIN attempts a ON a.message = k.message AND a.sink = $1 AND a.attempt = k.attempt"
    " JOIN messages m ON m.seq = a.message ORDER BY a.started_ms DESC, m.id, a.attempt LIMIT $4"
)


async def dead(connection: Connection, sink: str | None, before: Target | None, limit: int) -> DeadPage:
    """Read a page of dead deliveries, by message and then sink, both downwards, at most `bounds.MOST_DEAD`."""
    size = min(limit, bounds.MOST_DEAD)
    values = Values((bounds.END, "") if before is None else (before.seq, before.sink))
    values.append(size)
    of_sink = "" if sink is None else f" AND d.sink = {values(findable(sink))} AND d.message <= $1"
    found = [
        DeadDelivery(seq, name, ended_ms / 1000, reason, request, status, detail or "", answer or "")
        for seq, name, ended_ms, reason, request, status, detail, answer in await connection.fetch(_DEAD.format(of_sink), *values)
    ]
    return DeadPage(tuple(found), Target(found[-1].seq, found[-1].sink) if len(found) == size else None)


async def last_attempts(connection: Connection, sink: str, limit: int) -> list[SinkAttempt]:
    """Read the last attempts at a sink, the newest first, as far as a bounded look finds them.

    It looks at the newest messages, and at deliveries that wait for another attempt or died last.
    """
    rows = await connection.fetch(_LAST, findable(sink), bounds.WAITING, bounds.NEWEST, limit)
    return [SinkAttempt(row[0], attempt_of(row[1:])) for row in rows]
