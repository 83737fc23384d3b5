"""What the writer's thread does inside one transaction. Every UPDATE names the state that it leaves."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import cache

from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Reject, Retry
from gateway.store.records import Accepted, Duplicate, NewMessage, Settlement

_MESSAGE_COLUMNS = (
    "id, source, sender_id, received_ms, event_ms, content_type, body, body_sha256, identity,"
    " event_type, milestone, sr_uuid, reference_id, status"
)
_MOST_ROWS = 64
"""Rows of one INSERT. Each statement is a hand-over of Python's lock to the loop and back, which costs more than the row."""
_MOST_PURGED = 1000
"""Rows and pages of bodies that are deleted in one transaction, give or take the deliveries of one message."""
_PAGE = 4096
_FEW = 16
"""Conflicts deleted at once. Each may be as big as a message."""
_FIRST = "SELECT seq, id, body, received_ms FROM messages WHERE source = ? AND forgotten = 0 AND "
_SETTLE = """
UPDATE deliveries SET state = ?, attempts = ?, retries = ?, due_ms = ?, ended_ms = ?, reason = ?
WHERE message = ? AND sink = ? AND state = 'queued'
"""
_INSERT_ATTEMPT = """
INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, reason, status, detail, answer)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_COUNT = """
INSERT INTO counters (sink, queued, delivered, dead, discarded) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (sink) DO UPDATE SET queued = queued + ?2, delivered = delivered + ?3, dead = dead + ?4, discarded = discarded + ?5
"""
_FIRST_IN_TURN = """
SELECT event_ms, message, behind FROM deliveries INDEXED BY deliveries_by_sr
WHERE sink = ? AND sr = ? AND state = 'queued' ORDER BY event_ms, message LIMIT 1
"""
_STATES = ("queued", "delivered", "dead", "discarded")

Changes = Counter[tuple[str, str]]
"""By sink and state: how many deliveries a transaction adds (or takes away)."""

DeliveryRow = tuple[int, str, int, int, bytes | None, int | None, int]
"""A new delivery: message, sink, since_ms, due_ms, sr, event_ms, behind."""


class Purged(Struct, frozen=True):
    """What became of a slice of messages."""

    gone: int
    last: int
    """The last seq looked at."""
    any_old: bool
    """Not all of them were young."""
    at_end: bool


def milliseconds(instant: float) -> int:
    return round(instant * 1000)


def accept(
    connection: sqlite3.Connection, batch: Sequence[NewMessage], retention: float, changes: Changes
) -> list[Accepted | Duplicate]:
    """Insert the messages that are new, with all they owe; say for the others which message came first."""
    results: list[Accepted | Duplicate] = []
    for at in range(0, len(batch), _MOST_ROWS):
        results += _accept_rows(connection, batch[at : at + _MOST_ROWS], retention, changes)
    return results


def _accept_rows(
    connection: sqlite3.Connection, batch: Sequence[NewMessage], retention: float, changes: Changes
) -> list[Accepted | Duplicate]:
    cursor = connection.execute(_insert_messages(len(batch)), [value for new in batch for value in _message_row(new)])
    last = cursor.lastrowid
    if cursor.rowcount == len(batch) and last is not None:
        # One statement of the one writer: the rows got the seqs in a row (sqlite.org/autoinc.html), the last one is known.
        results: list[Accepted | Duplicate] = [Accepted(seq) for seq in range(last - len(batch) + 1, last + 1)]
    else:
        results = [_accepted_or_first(connection, new, retention) for new in batch]
    away = absences(connection)
    owed = [row for new, result in zip(batch, results, strict=True) for row in _delivery_rows(new, result, away)]
    columns = 4  # those beyond stay at their defaults: sqlite3 binds a null slower than anything else
    if any(row[4] is not None for row in owed):
        owed, columns = take_turns(connection, owed), 7
    for at in range(0, len(owed), _MOST_ROWS):
        rows = owed[at : at + _MOST_ROWS]
        connection.execute(_insert_deliveries(len(rows), columns), [value for row in rows for value in row[:columns]])
    changes.update([(row[1], "queued") for row in owed])
    return results


def _delivery_rows(new: NewMessage, result: Accepted | Duplicate, away: Absences) -> list[DeliveryRow]:
    if not isinstance(result, Accepted):
        return []
    since_ms = milliseconds(new.message.received_at if new.since is None else new.since)
    if not new.in_order and not away:
        return [(result.seq, sink, since_ms, milliseconds(due), None, None, 0) for sink, due in new.deliveries]
    rows: list[DeliveryRow] = []
    for sink, due in new.deliveries:
        ordered = sink in new.in_order and bool(new.message.sr_uuid)
        turn = (_blob(new.message.sr_uuid), _event_ms(new)) if ordered else (None, None)
        rows.append((result.seq, sink, away.since(sink, since_ms), milliseconds(due), *turn, 0))
    return rows


def _accepted_or_first(connection: sqlite3.Connection, new: NewMessage, retention: float) -> Accepted | Duplicate:
    row = connection.execute("SELECT seq FROM messages WHERE id = ?", (new.message.id,)).fetchone()
    if row is not None:
        return Accepted(row[0])
    if (duplicate := _duplicate(connection, new, retention)) is not None:
        return duplicate
    # What stood in its way is older than retention, and forgotten now.
    cursor = connection.execute(_insert_messages(1), _message_row(new))
    if cursor.rowcount == 0 or cursor.lastrowid is None:
        raise sqlite3.IntegrityError("a message conflicts with none that can be found")
    return Accepted(cursor.lastrowid)


@cache
def _insert_messages(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO messages ({_MESSAGE_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING"


@cache
def _insert_deliveries(rows: int, columns: int) -> str:
    names = ("message", "sink", "since_ms", "due_ms", "sr", "event_ms", "behind")[:columns]
    values = ", ".join([f"('queued', {', '.join('?' * columns)})"] * rows)
    return f"INSERT INTO deliveries (state, {', '.join(names)}) VALUES {values}"


def _message_row(new: NewMessage) -> tuple[object, ...]:
    message = new.message
    return (
        message.id,
        message.source,
        _blob(message.sender_id),
        milliseconds(message.received_at),
        _event_ms(new),
        _blob(message.content_type),
        message.body,
        _sha256(message.body) if message.sender_id is None else None,
        _identity_key(new.identity),
        _blob(message.event_type),
        message.milestone,
        _blob(message.sr_uuid),
        _blob(message.reference_id),
        new.status,
    )


def _duplicate(connection: sqlite3.Connection, new: NewMessage, retention: float) -> Duplicate | None:
    """The first message that this one repeats: by the sender's id, then by identity; None where that is forgotten."""
    message = new.message
    by_id = ("body_sha256 = ?", _sha256(message.body))
    if message.sender_id is not None:
        by_id = ("sender_id = ?", message.sender_id.encode())
    for reason, (condition, value) in (("message_id", by_id), ("identity", ("identity = ?", _identity_key(new.identity)))):
        first = connection.execute(_FIRST + condition, (message.source, value)).fetchone() if value is not None else None
        if first is None:
            continue
        seq, first_id, first_body, received_ms = first
        if received_ms < milliseconds(message.received_at - retention):
            connection.execute("UPDATE messages SET forgotten = seq WHERE seq = ? AND forgotten = 0", (seq,))
            continue
        connection.execute("UPDATE messages SET duplicates = duplicates + 1 WHERE seq = ?", (seq,))
        conflict = first_body != message.body
        if conflict:
            connection.execute(
                "INSERT INTO conflicts (message, body_sha256, sender_id, received_ms, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (seq, _sha256(message.body), _blob(message.sender_id), milliseconds(message.received_at), message.body),
            )
        return Duplicate(first_id, "message_id" if reason == "message_id" else "identity", conflict)
    return None


def settle(connection: sqlite3.Connection, batch: Sequence[Settlement], changes: Changes) -> list[bool]:
    """Move deliveries out of `queued` or to their next due time; False for one that is `queued` no more."""
    return [_settle_one(connection, settlement, changes) for settlement in batch]


def _settle_one(connection: sqlite3.Connection, settlement: Settlement, changes: Changes) -> bool:
    attempt, transition = settlement.attempt, settlement.transition
    key = (settlement.seq, settlement.sink)
    found = connection.execute("SELECT attempts, sr FROM deliveries WHERE message = ? AND sink = ?", key).fetchone()
    if found is None:
        return False  # discarded and purged while it was in flight
    attempts: int = found[0]
    sr: bytes | None = found[1]
    if attempt is not None:
        begun = milliseconds(attempt.started_at)
        row = (*key, attempt.number, begun, attempt.duration_ms, *_outcome_columns(attempt.outcome))
        connection.execute(_INSERT_ATTEMPT, row)
        attempts = attempt.number
    due_ms = milliseconds(transition.due_at) if transition.due_at is not None else None
    ended_ms = milliseconds(settlement.at) if transition.state != "queued" else None
    values = (transition.state, attempts, transition.retries, due_ms, ended_ms, transition.reason, *key)
    if connection.execute(_SETTLE, values).rowcount == 0:
        return False
    if transition.state != "queued":
        changes[settlement.sink, "queued"] -= 1
        changes[settlement.sink, transition.state] += 1
        next_turn(connection, settlement.sink, sr)
    return True


def take_turns(connection: sqlite3.Connection, rows: Sequence[DeliveryRow]) -> list[DeliveryRow]:
    """Put deliveries that are about to be inserted into the order of their service requests.

    Of the open deliveries of one sink and service request exactly the first, by the event's instant, then by acceptance, is not
    `behind` another one. Those without a service request never are.
    """
    first: dict[tuple[str, bytes], tuple[int, int]] = {}
    stored: dict[tuple[str, bytes], tuple[int, int]] = {}
    for seq, sink, _, _, sr, event_ms, _ in rows:
        if sr is None or event_ms is None:
            continue
        key = (sink, sr)
        if key not in first and (found := first_in_turn(connection, sink, sr)) is not None:
            stored[key] = first[key] = found
        first[key] = min(first.get(key, (event_ms, seq)), (event_ms, seq))
    for (sink, sr), (event_ms, seq) in stored.items():
        if first[sink, sr] != (event_ms, seq):
            connection.execute(
                "UPDATE deliveries SET behind = 1 WHERE message = ? AND sink = ? AND state = 'queued' AND behind = 0", (seq, sink)
            )
    return [row if row[4] is None else (*row[:6], int(first[row[1], row[4]] != (row[5], row[0]))) for row in rows]


def first_in_turn(connection: sqlite3.Connection, sink: str, sr: bytes) -> tuple[int, int] | None:
    """The event's instant and the message of the first open delivery of a service request; None: there is none."""
    found = connection.execute(_FIRST_IN_TURN, (sink, sr)).fetchone()
    return None if found is None else (found[0], found[1])


def next_turn(connection: sqlite3.Connection, sink: str, sr: bytes | None) -> None:
    """Let the first open delivery of a service request go, since the one before it left."""
    if sr is None:
        return
    first = connection.execute(_FIRST_IN_TURN, (sink, sr)).fetchone()
    if first is not None and first[2]:
        connection.execute(
            "UPDATE deliveries SET behind = 0 WHERE message = ? AND sink = ? AND state = 'queued' AND behind = 1",
            (first[1], sink),
        )


class Absences(dict[str, tuple[int, int | None]]):
    """By sink that is, or was, away from the configuration: for how long in all before, and since when it is away now."""

    def since(self, sink: str, instant_ms: int) -> int:
        """What is kept as the beginning of a delivery's age: while its sink is away, it does not age at all."""
        away_ms, absent_ms = self.get(sink, (0, None))
        return (instant_ms if absent_ms is None else min(instant_ms, absent_ms)) - away_ms


def absences(connection: sqlite3.Connection) -> Absences:
    rows = connection.execute("SELECT sink, away_ms, absent_ms FROM sinks WHERE away_ms <> 0 OR absent_ms IS NOT NULL")
    return Absences({sink: (away_ms, absent_ms) for sink, away_ms, absent_ms in rows.fetchall()})


def _outcome_columns(outcome: Delivered | Retry | Defer | Reject) -> tuple[str, str | None, int | None, str, str]:
    match outcome:
        case Delivered(status=status, detail=detail):
            return "delivered", None, status, detail, ""
        case Retry(reason=reason, detail=detail, status=status, answer=answer):
            return "retry", reason.value, status, detail, answer
        case Defer(reason=reason, detail=detail, status=status, answer=answer):
            return "defer", reason.value, status, detail, answer
        case Reject(reason=reason, detail=detail, status=status, answer=answer):
            return "reject", reason.value, status, detail, answer


def count(connection: sqlite3.Connection, changes: Changes) -> None:
    """Bring the counters to what the transaction changed."""
    for sink in {sink for sink, _ in changes}:
        connection.execute(_COUNT, (sink, *(changes[sink, state] for state in _STATES)))


def purge(connection: sqlite3.Connection, after: int, slice_size: int, before: float, changes: Changes) -> Purged:
    """Delete finished messages older than `before` among the next ones with seq > `after`, up to `slice_size` of them.

    The slice ends early once it has come to _MOST_PURGED rows and pages: with 200 sinks a message has many rows, and a big body
    many pages. What one message alone has too much of, attempts or conflicts, goes over several slices, and the message last.

    Messages with a queued or dead delivery stay. Young ones are passed by: after a clock that jumped, old ones may stand behind
    them.
    """
    rows = connection.execute(
        "SELECT seq, received_ms, duplicates, length(body) FROM messages WHERE seq > ? ORDER BY seq LIMIT ?", (after, slice_size)
    ).fetchall()
    gone = used = 0
    any_old = False
    for seq, received_ms, duplicates, size in rows:
        if used >= _MOST_PURGED:
            return Purged(gone, after, any_old, at_end=False)
        used += 1
        if received_ms < milliseconds(before):
            any_old = True
            owed = connection.execute("SELECT sink, state, attempts FROM deliveries WHERE message = ?", (seq,)).fetchall()
            used += len(owed)
            if not any(state in ("queued", "dead") for _, state, _ in owed):
                attempts = sum(attempts for _, _, attempts in owed)
                if attempts > _MOST_PURGED:
                    attempts = _purge_attempts(connection, seq)
                if attempts >= _MOST_PURGED or (duplicates and _purge_conflicts(connection, seq)):
                    return Purged(gone, after, any_old, at_end=False)  # there may be more of them
                used += attempts + size // _PAGE
                changes.subtract((sink, state) for sink, state, _ in owed)
                # What belongs to it goes by ON DELETE CASCADE.
                gone += connection.execute("DELETE FROM messages WHERE seq = ?", (seq,)).rowcount
        after = seq
    return Purged(gone, after, any_old, at_end=len(rows) < slice_size)


def _purge_attempts(connection: sqlite3.Connection, seq: int) -> int:
    """Delete up to _MOST_PURGED attempts of a message: each `Retry-After` makes one, and a delivery may meet many."""
    return connection.execute(
        "DELETE FROM attempts WHERE message = ?1 AND (sink, attempt) IN"
        " (SELECT sink, attempt FROM attempts WHERE message = ?1 ORDER BY sink, attempt LIMIT ?2)",
        (seq, _MOST_PURGED),
    ).rowcount


def _purge_conflicts(connection: sqlite3.Connection, seq: int) -> bool:
    """Delete some of the bodies that differ from the first one's; True: there may be more."""
    few = "SELECT rowid FROM conflicts WHERE message = ? LIMIT ?"
    return connection.execute(f"DELETE FROM conflicts WHERE rowid IN ({few})", (seq, _FEW)).rowcount == _FEW


def purge_threads(connection: sqlite3.Connection, slice_size: int, before: float) -> None:
    """Forget up to `slice_size` threads that no event came for since an instant."""
    connection.execute(
        "DELETE FROM threads WHERE (sink, channel, sr) IN"
        " (SELECT sink, channel, sr FROM threads WHERE used_ms < ? ORDER BY used_ms LIMIT ?)",
        (milliseconds(before), slice_size),
    )


def _event_ms(new: NewMessage) -> int:
    return milliseconds(new.message.received_at if new.event_at is None else new.event_at)


def _blob(text: str | None) -> bytes | None:
    return text.encode() if text is not None else None


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _identity_key(identity: str | None) -> bytes | None:
    """The end of an identity, where its timestamp stands, and a digest of it all.

    A digest alone would put every new row on another page of the index; this way, what comes together stands together.
    """
    if identity is None:
        return None
    text = identity.encode()
    return text[-28:] + hashlib.sha256(text).digest()[:16]
