"""Queries, run in the thread of a read-only connection. Each ends fast: an open read transaction holds the WAL."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from gateway.core.breaker import BreakerState
from gateway.core.documents import CounterPage, KeptMessage, Recount
from gateway.core.records import BYTES_BESIDE_BODY, Claim, Counts, Message, Owed, SinkState
from gateway.store.base import MOST_CLAIMED_BYTES
from gateway.store.sqlite.writes import milliseconds

_MESSAGE_COLUMNS = (
    "m.id, m.source, m.sender_id, m.received_ms, m.content_type, m.body, m.event_type, m.milestone, m.sr_uuid, m.reference_id"
)

_OPEN = "SELECT message, due_ms FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued' AND behind = {}"
_FIRST_DUE = " ORDER BY due_ms, message LIMIT ?2"
_NOT_BEHIND = _OPEN.format(0) + _FIRST_DUE
"""Those that ordering = "sr" lets go."""
_WAITING = f"{_OPEN.format(0)} UNION ALL {_OPEN.format(1)}{_FIRST_DUE}"
"""All, merged from two walks over the index."""
_EXPIRED_WHILE_DUE = (
    "SELECT * FROM (SELECT message, since_ms FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'queued'"
    " AND behind = {} AND due_ms <= ?2 AND since_ms <= ?2 ORDER BY due_ms, message LIMIT ?3)"
)
_EXPIRED = (
    "SELECT message FROM (SELECT * FROM (SELECT message, since_ms FROM deliveries INDEXED BY deliveries_by_since"
    " WHERE sink = ?1 AND state = 'queued' AND due_ms > since_ms AND since_ms <= ?2 ORDER BY since_ms, message LIMIT ?3)"
    f" UNION {_EXPIRED_WHILE_DUE.format(0)} UNION {_EXPIRED_WHILE_DUE.format(1)}) ORDER BY since_ms, message LIMIT ?3"
)
"""None is due before it was accepted, so what has been due for so long is old enough, too."""
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
) -> Claim:
    """Up to `limit` due deliveries of a sink, oldest first, leaving out the messages that are in its hands already.

    It writes nothing: what is in flight is known in memory only, and due again after a crash. With `by_sr`, only the first
    open delivery of each service request counts, by the event's instant, then by acceptance. `room` is how many bytes of memory
    they may take; the first one is claimed even if it takes more.
    """
    connection.execute("BEGIN")  # one snapshot for all of it
    try:
        seen_to = connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0
        rows = connection.execute(_NOT_BEHIND if by_sr else _WAITING, (sink, limit + len(busy) + 1)).fetchall()
        waiting = [(seq, due_ms) for seq, due_ms in rows if seq not in busy]
        due = [seq for seq, due_ms in waiting if due_ms <= milliseconds(now)]
        fitting = _fitting(connection, due[:limit], room)
        more = len(due) > len(fitting)
        next_due = None if more else next((due_ms / 1000 for _, due_ms in waiting[len(due) :]), None)
        return Claim(_owed(connection, sink, fitting), more, next_due, seen_to)
    finally:
        connection.execute("ROLLBACK")


def _fitting(connection: sqlite3.Connection, seqs: list[int], room: int) -> list[int]:
    """Return the first of these messages, as many as fit into `room` bytes of memory; at least one."""
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


def expired(connection: sqlite3.Connection, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
    """Up to `limit` open deliveries of a sink that were accepted or replayed before an instant, due or not.

    Their bodies are left out: nobody is sent them any more.
    """
    rows = connection.execute(_EXPIRED, (sink, milliseconds(before) - away_of(connection, sink), limit + len(busy))).fetchall()
    return _owed(connection, sink, [seq for (seq,) in rows if seq not in busy][:limit], body="x''")


def sink_states(connection: sqlite3.Connection) -> dict[str, SinkState]:
    """What was kept of each lane."""
    rows = connection.execute("SELECT sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms FROM sinks")
    return {
        sink: SinkState(
            _seconds(paused), by, BreakerState(failures, _seconds(opened), _seconds(probe), wait / 1000), _seconds(held)
        )
        for sink, paused, by, failures, opened, probe, wait, held in rows
    }


def _owed(connection: sqlite3.Connection, sink: str, seqs: list[int], *, body: str = "m.body") -> tuple[Owed, ...]:
    columns = _MESSAGE_COLUMNS.replace("m.body", body)
    marks = ",".join("?" * len(seqs))
    away_ms = away_of(connection, sink)
    rows = connection.execute(
        f"SELECT d.message, d.since_ms, d.attempts, d.retries, {columns} FROM deliveries d"
        f" JOIN messages m ON m.seq = d.message WHERE d.sink = ? AND d.message IN ({marks}) AND d.state = 'queued'",
        (sink, *seqs),
    ).fetchall()
    found = {
        row[0]: Owed(
            seq=row[0], sink=sink, since=(row[1] + away_ms) / 1000, attempts=row[2], retries=row[3], message=_message(row[4:])
        )
        for row in rows
    }
    return tuple(found[seq] for seq in seqs if seq in found)


def counts(connection: sqlite3.Connection) -> dict[str, Counts]:
    """Return the numbers by sink from the counters, never from the deliveries. None is below 0, whatever a counter says."""
    return {
        sink: Counts(**{state: max(getattr(kept, state), 0) for state in Counts.__struct_fields__})
        for sink, kept in counters(connection).items()
    }


def counters(connection: sqlite3.Connection) -> dict[str, Counts]:
    """The counters as they stand, by sink. Only one that is wrong is below 0."""
    rows = connection.execute("SELECT sink, queued, delivered, dead, discarded FROM counters ORDER BY sink")
    return {row[0]: Counts(*row[1:]) for row in rows}


def away_of(connection: sqlite3.Connection, sink: str) -> int:
    """Milliseconds by which the deliveries of a sink count as accepted later."""
    row = connection.execute("SELECT away_ms FROM sinks WHERE sink = ?", (sink,)).fetchone()
    return row[0] if row else 0


def timeline(connection: sqlite3.Connection) -> tuple[int, float]:
    """Milliseconds that the wall clock had jumped in all, and the last instant of it that was seen; (0, 0.0) at first."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'timeline'").fetchone():
        return 0, 0.0  # opened by an earlier version's scripts alone
    row = connection.execute("SELECT jumped_ms, seen_ms FROM timeline").fetchone()
    return (row[0], row[1] / 1000) if row else (0, 0.0)


def oldest_due(connection: sqlite3.Connection, sink: str, *, by_sr: bool = False) -> float | None:
    """When the delivery of a sink that waits longest was, or will be, due; with `by_sr`, of those that may be claimed."""
    row = connection.execute(_NOT_BEHIND if by_sr else _WAITING, (sink, 1)).fetchone()
    return row[1] / 1000 if row else None


def oldest_since(connection: sqlite3.Connection, sink: str) -> float | None:
    """When the oldest open delivery of a sink was accepted or replayed, by the wall clock of now, Unix seconds."""
    (since_ms,) = connection.execute(_OLDEST, (sink,)).fetchone()
    if since_ms is None:
        return None
    jumped_ms, _ = timeline(connection)
    return float(since_ms + jumped_ms + away_of(connection, sink)) / 1000


def seq_of(connection: sqlite3.Connection, message_id: str) -> int | None:
    row = connection.execute("SELECT seq FROM messages WHERE id = ?", (message_id,)).fetchone()
    return row[0] if row else None


def before_next_old(connection: sqlite3.Connection, after: int, before: float) -> int | None:
    """The seq before the next message beyond `after` that was received before an instant; None where there is none."""
    old = "messages INDEXED BY messages_by_time {} seq >> 8 = {} AND received_ms < ?2 AND seq > ?1"
    block = connection.execute(
        "WITH RECURSIVE blocks (block) AS (SELECT ?1 >> 8 UNION ALL"
        " SELECT block + 1 FROM blocks WHERE block < (SELECT max(seq) >> 8 FROM messages))"
        f" SELECT block FROM blocks CROSS JOIN {old.format('ON', 'block')} LIMIT 1",
        (after, milliseconds(before)),
    ).fetchone()
    if block is None:
        return None
    query = f"SELECT min(seq) FROM {old.format('WHERE', '?3')}"
    (seq,) = connection.execute(query, (after, milliseconds(before), block[0])).fetchone()
    return None if seq is None else seq - 1


def messages_after(connection: sqlite3.Connection, seq: int, limit: int) -> list[KeptMessage]:
    """Read a page of messages in the order of acceptance."""
    rows = connection.execute(
        f"SELECT m.seq, m.status, {_MESSAGE_COLUMNS} FROM messages m WHERE m.seq > ? ORDER BY m.seq LIMIT ?", (seq, limit)
    ).fetchall()
    return [KeptMessage(row[0], row[1], _message(row[2:]), _sinks(connection, row[0])) for row in rows]


def messages_by_seq(connection: sqlite3.Connection, seqs: list[int]) -> dict[int, Message]:
    marks = ",".join("?" * len(seqs))
    rows = connection.execute(f"SELECT m.seq, {_MESSAGE_COLUMNS} FROM messages m WHERE m.seq IN ({marks})", seqs)
    return {row[0]: _message(row[1:]) for row in rows}


def recount(connection: sqlite3.Connection, sink: str) -> Recount:
    """Read the counters of queued and dead deliveries of a sink, and count them by their indexes, in one snapshot."""
    row = connection.execute(
        "SELECT coalesce((SELECT queued FROM counters WHERE sink = ?1), 0),"
        " coalesce((SELECT dead FROM counters WHERE sink = ?1), 0),"
        " (SELECT count(*) FROM deliveries WHERE sink = ?1 AND state = 'queued'),"
        " (SELECT count(*) FROM deliveries WHERE sink = ?1 AND state = 'dead')",
        (sink,),
    ).fetchone()
    return Recount(*row)


def count_page(connection: sqlite3.Connection, after: int, size: int) -> CounterPage:
    """Count the deliveries of the next `size` seqs beyond `after`, with the counters of the same instant."""
    connection.execute("BEGIN")  # one snapshot for all of it
    try:
        (first,) = connection.execute("SELECT min(message) FROM deliveries WHERE message > ?", (after,)).fetchone()
        last = (after if first is None else first) + size - 1
        found = connection.execute(
            "SELECT sink, state, count(*) FROM deliveries WHERE message > ? AND message <= ? GROUP BY sink, state", (after, last)
        ).fetchall()
        more = connection.execute("SELECT 1 FROM deliveries WHERE message > ? LIMIT 1", (last,)).fetchone()
        return CounterPage(counters(connection), {(sink, state): number for sink, state, number in found}, last if more else None)
    finally:
        connection.execute("ROLLBACK")


def quick_check(connection: sqlite3.Connection) -> str:
    """`ok`, or the first thing that is wrong with the file. Reads all of it."""
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return str(answer)


def _sinks(connection: sqlite3.Connection, seq: int) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute("SELECT sink FROM deliveries WHERE message = ? ORDER BY sink", (seq,)))


def _message(row: tuple[object, ...]) -> Message:
    message_id, source, sender_id, received_ms, content_type, body, event_type, milestone, sr_uuid, reference_id = row
    assert isinstance(message_id, str) and isinstance(source, str) and isinstance(body, bytes) and isinstance(received_ms, int)
    assert milestone is None or isinstance(milestone, str)
    return Message(
        id=message_id,
        source=source,
        sender_id=_text(sender_id),
        received_at=received_ms / 1000,
        content_type=_text(content_type),
        body=body,
        event_type=_text(event_type),
        milestone=milestone,
        sr_uuid=_text(sr_uuid),
        reference_id=_text(reference_id),
    )


def _seconds(milliseconds_: int | None) -> float | None:
    return None if milliseconds_ is None else milliseconds_ / 1000


def _text(blob: object) -> str | None:
    return blob.decode() if isinstance(blob, bytes) else None
