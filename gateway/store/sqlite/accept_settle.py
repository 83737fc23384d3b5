"""Accepting messages and settling deliveries, inside the writer's transaction. Every UPDATE names the state that it leaves."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache

from gateway.core.records import Accepted, Duplicate, NewMessage, Settlement
from gateway.store.columns import blob, milliseconds
from gateway.store.counted import Changes
from gateway.store.ledger_state import Judged
from gateway.store.new_rows import (
    attempt_row,
    delivery_rows,
    digest,
    fitting,
    identity_key,
    message_row,
    rows_of,
    settled_row,
)
from gateway.store.sqlite import joining, ordering, watch_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.many_rows import MOST_ROWS, chunks, marks, values_of
from gateway.store.sqlite.sink_rows import absences
from gateway.store.sqlite.suppressed_rows import insert_suppressed
from gateway.store.turns import Turn

_MESSAGE_COLUMNS = (
    "id, source, sender_id, received_ms, event_ms, content_type, body, body_sha256, identity,"
    " event_type, milestone, sr_uuid, reference_id, status"
)
MOST_ACCEPTED = 1000
"""Rows of new messages in one commit, messages and deliveries together; a single message may have more. An entry of the ledger
comes with each message."""
MOST_REPEATS = 20
"""Repeats of a message that are kept with their instant; the others are only counted."""
_FIRST = "SELECT seq, id, body, received_ms FROM messages WHERE source = ? AND forgotten = 0 AND "


def accept(
    connection: sqlite3.Connection, batch: Sequence[NewMessage], retention: float, changes: Changes, ledger: Ledger
) -> list[Accepted | Duplicate]:
    """Insert new messages with all their deliveries; find for each of the others the first message that it repeats.

    Each message is judged and then routed. Returns the results of the first messages: of so many that all have at most
    MOST_ACCEPTED rows, and of one message at least. The others have to wait for the next commit.
    """
    results: list[Accepted | Duplicate] = []
    room = MOST_ACCEPTED
    while len(results) < len(batch):
        judged = ledger.judge(connection, batch[len(results) : len(results) + MOST_ROWS])
        number = fitting(judged, room, first=not results)
        results += _accept_rows(connection, judged[:number], retention, changes, ledger)
        if number < len(judged):
            break
        if len(results) < len(batch):
            room -= sum(rows_of(one) for one in judged)
    return results


def _accept_rows(
    connection: sqlite3.Connection, judged: Sequence[Judged], retention: float, changes: Changes, ledger: Ledger
) -> list[Accepted | Duplicate]:
    if not judged:
        return []
    cursor = connection.execute(_insert_messages(len(judged)), values_of(map(message_row, judged)))
    last = cursor.lastrowid
    if cursor.rowcount == len(judged) and last is not None:
        # One statement of the only writer: the rows got consecutive seqs (sqlite.org/autoinc.html), and the last seq is known.
        results: list[Accepted | Duplicate] = [Accepted(seq) for seq in range(last - len(judged) + 1, last + 1)]
        accepted = list(zip(judged, range(last - len(judged) + 1, last + 1), strict=True))
    else:
        results = [_accepted_or_first(connection, one, retention) for one in judged]
        accepted = _judged_again(connection, judged, results, ledger)
    numbers = ledger.enter(connection, accepted)
    joins = joining.plan(connection, accepted, numbers)
    if companions := [companion for one, _ in accepted for companion in one.companions]:
        watch_rows.keep(connection, companions)
    away = absences(connection)
    owed = [row for one, seq in accepted for row in delivery_rows(one, seq, away, joins)]
    columns = 4  # the others stay at their defaults, which takes less than to bind them
    if any(row[4] is not None for row in owed):
        owed, columns = ordering.take(connection, owed), 7
    for at in range(0, len(owed), MOST_ROWS):
        rows = [row[:columns] for row in owed[at : at + MOST_ROWS]]
        connection.execute(_insert_deliveries(len(rows), columns), values_of(rows))
    changes.update([(row[1], "queued") for row in owed])
    insert_suppressed(connection, accepted, changes)
    joining.write(connection, joins, accepted, changes)
    return [joins.accepted.get(one.seq, one) if isinstance(one, Accepted) else one for one in results]


def _judged_again(
    connection: sqlite3.Connection, judged: Sequence[Judged], results: Sequence[Accepted | Duplicate], ledger: Ledger
) -> list[tuple[Judged, int]]:
    """Judge the accepted messages again, without the duplicates among them, which happened already.

    The order is that of their seqs, in which a start judges them too: a message that repeats one older than retention is inserted
    after the others, and so has the greatest seq.
    """
    accepted = [(one, result.seq) for one, result in zip(judged, results, strict=True) if isinstance(result, Accepted)]
    accepted.sort(key=operator.itemgetter(1))
    again = ledger.judge(connection, [one.new for one, _ in accepted])
    for (before, seq), after in zip(accepted, again, strict=True):
        if before.owes.status != after.owes.status:
            connection.execute("UPDATE messages SET status = ? WHERE seq = ?", (after.owes.status, seq))
    return [(after, seq) for after, (_, seq) in zip(again, accepted, strict=True)]


def _accepted_or_first(connection: sqlite3.Connection, judged: Judged, retention: float) -> Accepted | Duplicate:
    new = judged.new
    row = connection.execute("SELECT seq FROM messages WHERE id = ?", (new.message.id,)).fetchone()
    if row is not None:
        return Accepted(row[0])
    if (duplicate := _duplicate(connection, new, retention)) is not None:
        return duplicate
    # The message that it repeats is older than retention, and `_duplicate` has just marked that one as forgotten.
    cursor = connection.execute(_insert_messages(1), message_row(judged))
    if cursor.rowcount == 0 or cursor.lastrowid is None:
        raise sqlite3.IntegrityError("a message conflicts with none that can be found")
    return Accepted(cursor.lastrowid)


@cache
def _insert_messages(rows: int) -> str:
    values = marks(rows, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    return f"INSERT INTO messages ({_MESSAGE_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING"


@cache
def _insert_deliveries(rows: int, columns: int) -> str:
    names = ("message", "sink", "since_ms", "due_ms", "sr", "event_ms", "behind")[:columns]
    values = ", ".join([f"('queued', {', '.join('?' * columns)})"] * rows)
    return f"INSERT INTO deliveries (state, {', '.join(names)}) VALUES {values}"


def _duplicate(connection: sqlite3.Connection, new: NewMessage, retention: float) -> Duplicate | None:
    """Find the first message that this one repeats, by the sender's id, then by identity; None if retention has none."""
    message = new.message
    by_id = ("body_sha256 = ?", digest(message.body))
    if message.sender_id is not None:
        by_id = ("sender_id = ?", message.sender_id.encode())
    for reason, (condition, value) in (("message_id", by_id), ("identity", ("identity = ?", identity_key(new.identity)))):
        first = connection.execute(_FIRST + condition, (message.source, value)).fetchone() if value is not None else None
        if first is None:
            continue
        seq, first_id, first_body, received_ms = first
        if received_ms < milliseconds(message.received_at - retention):
            connection.execute("UPDATE messages SET forgotten = seq WHERE seq = ? AND forgotten = 0", (seq,))
            continue
        connection.execute("UPDATE messages SET duplicates = duplicates + 1 WHERE seq = ?", (seq,))
        connection.execute(
            "INSERT INTO repeats SELECT seq, duplicates, ?, ? FROM messages WHERE seq = ? AND duplicates <= ?",
            (milliseconds(message.received_at), blob(message.sender_id), seq, MOST_REPEATS),
        )
        conflict = first_body != message.body
        if conflict:
            connection.execute(
                "INSERT INTO conflicts (message, body_sha256, sender_id, received_ms, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (seq, digest(message.body), blob(message.sender_id), milliseconds(message.received_at), message.body),
            )
        return Duplicate(first_id, "message_id" if reason == "message_id" else "identity", conflict)
    return None


def settle(connection: sqlite3.Connection, batch: Sequence[Settlement], changes: Changes) -> list[bool]:
    """Move deliveries out of `queued`, or to their next due time; False for each that is no longer `queued`."""
    if len({(one.seq, one.sink) for one in batch}) < len(batch):
        return [held for one in batch for held in _settle_some(connection, [one], changes)]
    return [held for part in chunks(batch) for held in _settle_some(connection, part, changes)]


def _settle_some(connection: sqlite3.Connection, batch: Sequence[Settlement], changes: Changes) -> list[bool]:
    """Settle different deliveries in two statements."""
    moved = connection.execute(_settle(len(batch)), values_of([settled_row(one) for one in batch])).fetchall()
    in_time: dict[tuple[int, str], bytes | None] = {(seq, sink): sr for seq, sink, sr in moved}
    ended = [(one.seq, one.sink) for one in batch if (one.seq, one.sink) not in in_time]
    # A delivery that a person discarded may even be purged by now, and then nothing is left that an attempt could belong to.
    there = in_time.keys() | {(seq, sink) for seq, sink, *_ in find(connection, ended)}
    attempts = [attempt_row(one, one.attempt) for one in batch if one.attempt is not None and (one.seq, one.sink) in there]
    if attempts:
        connection.execute(_insert_attempts(len(attempts)), values_of(attempts))
    left: list[Turn] = []
    for one in batch:
        if one.transition.state != "queued" and (one.seq, one.sink) in in_time:
            changes[one.sink, "queued"] -= 1
            changes[one.sink, one.transition.state] += 1
            if (sr := in_time[one.seq, one.sink]) is not None:
                left.append((one.sink, sr))
    ordering.pass_on(connection, left)
    return [(one.seq, one.sink) in in_time for one in batch]


def find(connection: sqlite3.Connection, keys: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str, int, str, bytes | None]]:
    """Read message, sink, attempts, state and service request of the deliveries that exist."""
    for part in chunks(keys):
        yield from connection.execute(_find(len(part)), values_of(part)).fetchall()


@cache
def _find(rows: int) -> str:
    return (
        "SELECT d.message, d.sink, d.attempts, d.state, d.sr FROM"
        f" (VALUES {marks(rows)}) AS k CROSS JOIN deliveries d ON d.message = k.column1 AND d.sink = k.column2"
    )


@cache
def _insert_attempts(rows: int) -> str:
    values = marks(rows, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    return (
        "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, reason, status, detail, answer)"
        f" VALUES {values} ON CONFLICT DO NOTHING"
    )


@cache
def _settle(rows: int) -> str:
    values = marks(rows, "(?, ?, ?, ?, ?, ?, ?, ?)")
    return (
        "UPDATE deliveries SET state = k.column3, attempts = ifnull(k.column4, deliveries.attempts), retries = k.column5,"
        f" due_ms = k.column6, ended_ms = k.column7, reason = k.column8 FROM (VALUES {values}) AS k"
        " WHERE deliveries.message = k.column1 AND deliveries.sink = k.column2 AND deliveries.state = 'queued'"
        " RETURNING message, sink, sr"
    )
