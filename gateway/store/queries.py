"""Questions of people: which messages, which deliveries, what became of this one. Paged; none reads for long."""

from __future__ import annotations

import sqlite3
from typing import Any

from msgspec import Struct

from gateway.core.values import rfc3339
from gateway.store.operations import Selection, Target
from gateway.store.writes import milliseconds

_NONE = 2**63 - 1
"""A seq that no message has."""


_BLOCKS = (
    "WITH RECURSIVE blocks (block) AS (SELECT min(seq) >> 8 FROM messages WHERE seq > ?1"
    " UNION ALL SELECT block + 1 FROM blocks WHERE block < (SELECT max(seq) >> 8 FROM messages))"
)
_IN_BLOCKS = "blocks CROSS JOIN messages INDEXED BY messages_by_sr ON seq >> 8 = block"
"""Each block of `messages_by_sr`, from the oldest to the newest."""

MOST_NAMED = 1000
"""Messages that an id is resolved to at a time; it may stand for any number of them."""


class Ids(Struct, frozen=True):
    """What an audit line says of a message: all but its body, which may be large."""

    id: str
    sender_id: str | None
    source: str
    event_type: str | None
    milestone: str | None
    sr_uuid: str | None
    reference_id: str | None


class Chosen(Struct, frozen=True):
    """A message that a selection names, without its body."""

    seq: int
    source: str
    quarantined: bool


def named(connection: sqlite3.Connection, text: str, after: int = 0) -> list[int]:
    """The first seqs beyond one of the messages whose gateway's id, sender's id or SR uuid this is; at most MOST_NAMED.

    A reference id: see `by_reference`.
    """
    rows = connection.execute(
        f"{_BLOCKS} SELECT seq FROM messages WHERE id = ?2 AND seq > ?1"
        " UNION SELECT seq FROM messages WHERE sender_id = ?3 AND seq > ?1"
        f" UNION SELECT seq FROM {_IN_BLOCKS} AND sr_uuid = ?3 AND seq > ?1 ORDER BY seq LIMIT ?4",
        (after, text, text.encode(), MOST_NAMED),
    )
    return [seq for (seq,) in rows]


def begun(connection: sqlite3.Connection, text: str, after: int = 0) -> list[int]:
    """The first seqs beyond one of the messages one of whose three ids begins like this; at most MOST_NAMED."""
    raw = text.encode()
    # The plus keeps SQLite from walking the table by seq instead of an index of ids (sqlite.org/optoverview.html).
    rows = connection.execute(
        f"{_BLOCKS} SELECT seq FROM messages WHERE id >= ?2 AND id < ?3 AND +seq > ?1"
        " UNION SELECT seq FROM messages WHERE sender_id >= ?4 AND sender_id < ?5 AND +seq > ?1"
        f" UNION SELECT seq FROM {_IN_BLOCKS} AND sr_uuid >= ?4 AND sr_uuid < ?5 AND seq > ?1 ORDER BY seq LIMIT ?6",
        (after, text, f"{text}\uffff", raw, raw + b"\xff", MOST_NAMED),
    )
    return [seq for (seq,) in rows]


def by_reference(connection: sqlite3.Connection, reference: str, after: int) -> tuple[list[int], int | None]:
    """The first seqs beyond one of the messages with this reference id, at most MOST_NAMED; there is nothing to go on with."""
    rows = connection.execute(
        f"{_BLOCKS} SELECT seq FROM blocks CROSS JOIN messages INDEXED BY messages_by_reference ON seq >> 8 = block"
        " AND reference_id = ?2 AND seq > ?1 LIMIT ?3",
        (after, reference.encode(), MOST_NAMED),
    )
    return [seq for (seq,) in rows], None


def _begin(connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: int) -> int:
    """Where to begin: SQLite takes one lower bound of a range, so the later of both has to be that.

    No message before it was received since the instant that is asked for, wherever the clock was set.
    """
    if selection.since is None or seqs is not None:
        return after
    row = connection.execute(
        f"{_BLOCKS} SELECT block FROM blocks CROSS JOIN messages INDEXED BY messages_by_time ON seq >> 8 = block"
        " AND received_ms >= ?2 LIMIT 1",
        (after, milliseconds(selection.since)),
    ).fetchone()
    return _NONE if row is None else max(after, (row[0] << 8) - 1)


def _begin_of(connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: Target) -> tuple[int, str]:
    begin = _begin(connection, selection, seqs, after.seq)
    return (after.seq, after.sink) if begin == after.seq else (begin, "\uffff")  # no sink is called that


def messages(
    connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: int, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of messages in the order of acceptance, and where to go on; bodies stay where they are."""
    where, values = _message_conditions(selection, seqs)
    rows = connection.execute(
        "SELECT m.seq, m.id, m.sender_id, m.source, m.event_type, m.milestone, m.sr_uuid, m.reference_id, m.received_ms,"
        f" m.status, m.duplicates FROM messages m WHERE m.seq > ? {where} ORDER BY m.seq LIMIT ?",
        (_begin(connection, selection, seqs, after), *values, limit),
    ).fetchall()
    page = [_message_document(row) for row in rows]
    for document, row in zip(page, rows, strict=True):
        document["sinks"] = dict(
            connection.execute("SELECT sink, state FROM deliveries WHERE message = ? ORDER BY sink", (row[0],))
        )
    return page, rows[-1][0] if len(rows) == limit else None


def deliveries(
    connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: Target, limit: int
) -> tuple[list[dict[str, Any]], Target | None]:
    """A page of deliveries by message, then sink, and where to go on."""
    where, values = _delivery_conditions(selection, seqs)
    rows = connection.execute(
        "SELECT d.message, d.sink, d.state, d.attempts, d.due_ms, d.ended_ms, d.reason, m.id, m.sender_id, m.source,"
        " m.event_type, m.milestone, m.sr_uuid, m.reference_id, m.received_ms FROM deliveries d"
        " JOIN messages m ON m.seq = d.message"
        f" WHERE (d.message, d.sink) > (?, ?) {where} ORDER BY d.message, d.sink LIMIT ?",
        (*_begin_of(connection, selection, seqs, after), *values, limit),
    ).fetchall()
    page = [_delivery_document(row) for row in rows]
    return page, Target(rows[-1][0], rows[-1][1]) if len(rows) == limit else None


def targets(
    connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: Target, limit: int
) -> list[Target]:
    """A slice of the deliveries that a selection names."""
    where, values = _delivery_conditions(selection, seqs)
    rows = connection.execute(
        "SELECT d.message, d.sink FROM deliveries d JOIN messages m ON m.seq = d.message"
        f" WHERE (d.message, d.sink) > (?, ?) {where} ORDER BY d.message, d.sink LIMIT ?",
        (*_begin_of(connection, selection, seqs, after), *values, limit),
    )
    return [Target(seq, sink) for seq, sink in rows]


def chosen(connection: sqlite3.Connection, selection: Selection, seqs: list[int] | None, after: int, limit: int) -> list[Chosen]:
    """A slice of the messages that a selection names."""
    where, values = _message_conditions(selection, seqs)
    # By the index alone: in a row the status stands behind the body, and SQLite would read through all of that.
    quarantined = (
        "EXISTS (SELECT 1 FROM messages q INDEXED BY messages_by_status"
        " WHERE q.status = 'quarantined' AND q.status <> 'accepted' AND q.seq = m.seq)"
    )
    rows = connection.execute(
        f"SELECT m.seq, m.source, {quarantined} FROM messages m WHERE m.seq > ? {where} ORDER BY m.seq LIMIT ?",
        (_begin(connection, selection, seqs, after), *values, limit),
    )
    return [Chosen(seq, source, bool(found)) for seq, source, found in rows]


def body(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """The body of one message; None where it was purged. Ask for one at a time: each may be as large as `max_body`."""
    row = connection.execute("SELECT body FROM messages WHERE seq = ?", (seq,)).fetchone()
    return row[0] if row else None


def states(connection: sqlite3.Connection, targets: list[Target]) -> list[str]:
    """The state of each of these deliveries; `new` where there is none yet."""
    query = "SELECT state FROM deliveries WHERE message = ? AND sink = ?"
    rows = (connection.execute(query, (target.seq, target.sink)).fetchone() for target in targets)
    return [row[0] if row else "new" for row in rows]


def owed(connection: sqlite3.Connection, seqs: list[int], sink: str | None) -> list[Target]:
    """Every delivery of these messages, or those to one sink."""
    marks = ",".join("?" * len(seqs))
    rows = connection.execute(
        f"SELECT message, sink FROM deliveries WHERE message IN ({marks}) AND sink = ifnull(?, sink) ORDER BY message, sink",
        (*seqs, sink),
    )
    return [Target(seq, sink) for seq, sink in rows]


def ids(connection: sqlite3.Connection, targets: list[Target]) -> dict[int, Ids]:
    """The messages of these deliveries, by seq, for the audit log."""
    seqs = sorted({target.seq for target in targets})
    found: dict[int, Ids] = {}
    for at in range(0, len(seqs), 500):
        part = seqs[at : at + 500]
        rows = connection.execute(
            "SELECT seq, id, sender_id, source, event_type, milestone, sr_uuid, reference_id FROM messages"
            f" WHERE seq IN ({','.join('?' * len(part))})",
            part,
        )
        found |= {row[0]: Ids(**{"id": row[1], **_names(row[2:])}) for row in rows}
    return found


def first_since(connection: sqlite3.Connection, instant: float) -> int:
    """The seq of about the first message received since an instant, found by halving: messages lie in the order of arrival,
    but for those around a clock that was set back."""
    low, high = 1, (connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT seq, received_ms FROM messages WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[1] >= milliseconds(instant):
            high = middle
        else:
            low = row[0] + 1
    return low


def received_since(
    connection: sqlite3.Connection, instant: float, after: int, limit: int, most_bytes: int
) -> tuple[list[tuple[int, str, str, bytes]], int]:
    """A page of the messages after a seq that could be decoded: seq, id, source, body; and the newest seq that there is.

    It ends at `limit` messages, or with the one that makes the bodies larger than `most_bytes`.
    """
    newest = connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0
    page: list[tuple[int, str, str, bytes]] = []
    read = 0
    for row in connection.execute(
        "SELECT seq, id, source, body FROM messages WHERE seq > ? AND received_ms >= ? AND status <> 'quarantined'"
        " ORDER BY seq LIMIT ?",
        (after, milliseconds(instant), limit),
    ):
        page.append(row)
        read += len(row[3])
        if read > most_bytes:
            break
    return page, newest


def story(connection: sqlite3.Connection, seq: int) -> dict[str, Any] | None:
    """All that is known of one message: its deliveries, their attempts, and the bodies of conflicting duplicates.

    None where it was purged.
    """
    row = connection.execute(
        "SELECT seq, id, sender_id, source, event_type, milestone, sr_uuid, reference_id, received_ms, status, duplicates,"
        " content_type, body FROM messages WHERE seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    document = _message_document(row[:11])
    document |= {"content_type": _text(row[11]), "body": row[12].decode("utf-8", "replace")}
    document["deliveries"] = [
        {
            "delivery_id": f"{document['message_id']}-{sink}",
            "sink": sink,
            "state": state,
            "attempts": _attempts(connection, seq, sink),
            "reason": reason,
            "next_attempt_at": _time(due_ms),
            "ended_at": _time(ended_ms),
        }
        for sink, state, reason, due_ms, ended_ms in connection.execute(
            "SELECT sink, state, reason, due_ms, ended_ms FROM deliveries WHERE message = ? ORDER BY sink", (seq,)
        ).fetchall()
    ]
    document["conflicts"] = [
        {"time": _time(received_ms), "sender_id": _text(sender_id), "body": body.decode("utf-8", "replace")}
        for received_ms, sender_id, body in connection.execute(
            "SELECT received_ms, sender_id, body FROM conflicts WHERE message = ? ORDER BY received_ms", (seq,)
        )
    ]
    return document


def _attempts(connection: sqlite3.Connection, seq: int, sink: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT attempt, started_ms, duration_ms, outcome, reason, status, detail, answer FROM attempts"
        " WHERE message = ? AND sink = ? ORDER BY attempt",
        (seq, sink),
    )
    keys = ("attempt", "time", "duration_ms", "outcome", "reason", "status", "detail", "answer")
    return [dict(zip(keys, (row[0], _time(row[1]), *row[2:]), strict=True)) for row in rows]


def _message_conditions(selection: Selection, seqs: list[int] | None) -> tuple[str, list[object]]:
    where, values = _times(selection, seqs)
    if selection.status is not None:
        # Said twice: only so does SQLite take the index, which holds the few that are not accepted.
        where.append("m.status = ?" if selection.status == "accepted" else "m.status = ? AND m.status <> 'accepted'")
        values.append(selection.status)
    return _joined(where), values


def _delivery_conditions(selection: Selection, seqs: list[int] | None) -> tuple[str, list[object]]:
    where, values = _times(selection, seqs)
    for column, value in (("state", selection.state), ("sink", selection.sink)):
        if value is not None:
            where.append(f"d.{column} = ?")
            values.append(value)
    return _joined(where), values


def _times(selection: Selection, seqs: list[int] | None) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    if seqs is not None:
        where.append(f"m.seq IN ({','.join(str(seq) for seq in seqs)})")
    for operator, instant in ((">=", selection.since), ("<", selection.until)):
        if instant is not None:
            where.append(f"m.received_ms {operator} ?")
            values.append(milliseconds(instant))
    return where, values


def _joined(where: list[str]) -> str:
    return "".join(f" AND {condition}" for condition in where)


def _message_document(row: tuple[Any, ...]) -> dict[str, Any]:
    return {**_ids(row[1:8]), "time": _time(row[8]), "status": row[9], "duplicates": row[10]}


def _delivery_document(row: tuple[Any, ...]) -> dict[str, Any]:
    _, sink, state, attempts, due_ms, ended_ms, reason = row[:7]
    ids = _ids(row[7:14])
    return {
        "delivery_id": f"{ids['message_id']}-{sink}",
        "sink": sink,
        "state": state,
        "attempt": attempts,
        "reason": reason,
        "next_attempt_at": _time(due_ms),
        "ended_at": _time(ended_ms),
        **ids,
        "time": _time(row[14]),
    }


def _ids(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"message_id": row[0], **_names(row[1:])}


def _names(row: tuple[Any, ...]) -> dict[str, Any]:
    sender_id, source, event_type, milestone, sr_uuid, reference_id = row
    return {
        "sender_id": _text(sender_id),
        "source": source,
        "event_type": _text(event_type),
        "milestone": milestone,
        "sr_uuid": _text(sr_uuid),
        "reference_id": _text(reference_id),
    }


def _time(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else rfc3339(instant_ms / 1000)


def _text(blob: bytes | None) -> str | None:
    return blob.decode() if blob is not None else None
