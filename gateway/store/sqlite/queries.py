"""Answers to people about messages and deliveries. Each is one page of bounded cost, on a read-only connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.core.documents import (
    AttemptFacts,
    Chosen,
    Conflict,
    DeliveryFacts,
    DeliveryStory,
    DeliverySummary,
    Ids,
    KeptMessage,
    MessageSummary,
    ReceivedBody,
    RoutingPage,
    Story,
)
from gateway.core.evidence_file import BEFORE_THIS_VERSION, NOT_SIGNED, EvidenceMessage, KeptSignature, NotKept, RulesSnapshot
from gateway.core.ledger import decode_facts
from gateway.core.selection import DeliveryState, Selection, Target
from gateway.store.sqlite import joining, kept_traces, newest_first, paging
from gateway.store.sqlite.columns import MESSAGE_COLUMNS, message_of, milliseconds
from gateway.store.sqlite.kept_traces import SIGNED_COLUMNS, TRACE_COLUMNS, signed_of
from gateway.store.sqlite.suppressed_rows import suppressed_sinks

MOST_ATTEMPTS = 20
"""The last attempts at each delivery that a story tells. `attempts` has all of them, in pages."""
MOST_CONFLICTS = 10
"""Conflicting duplicates that a story tells: the body of each may be as large as a message."""
_CONFLICTS_ORDERED = 1000
"""Conflicting duplicates among which the query looks for the earliest ones."""
_IDS = "id, sender_id, source, event_type, milestone, sr_uuid, reference_id"
ATTEMPT = "attempt, started_ms, duration_ms, outcome, reason, status, detail, answer"
"""The columns of `attempt_of`, of the table of attempts."""
_DUE_MS = "due_ms + (SELECT jumped_ms FROM timeline)"
"""The due time by the wall clock of now, in SQL."""
DELIVERY = f"d.sink, d.state, d.attempts, d.reason, {_DUE_MS}, d.ended_ms"
"""The columns of `delivery_of`, of a table of deliveries that the query calls `d`."""


def messages(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[MessageSummary], int | None]:
    """Read a page of messages in the order of acceptance, and the seq to go on after; see `paging`.

    The page also ends with the message that makes its deliveries more than LOOKED_AT.
    """
    return _summaries(connection, *paging.messages(connection, selection, seqs, after, limit))


def newest_messages(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
) -> tuple[list[MessageSummary], int | None]:
    """Read a page of messages in the reverse order of acceptance, and the seq to go on before; as for `messages`."""
    return _summaries(connection, *newest_first.messages(connection, selection, seqs, before, limit))


def _summaries(connection: sqlite3.Connection, found: list[int], go_on: int | None) -> tuple[list[MessageSummary], int | None]:
    page: list[MessageSummary] = []
    read = 0
    query = f"SELECT {_IDS}, received_ms, status, duplicates FROM messages WHERE seq = ?"
    for seq in found:
        row = connection.execute(query, (seq,)).fetchone()
        if row is None:  # purged since
            continue
        sinks = dict(connection.execute("SELECT sink, state FROM deliveries WHERE message = ? ORDER BY sink", (seq,)))
        page.append(MessageSummary(_ids(row[:7]), row[7] / 1000, row[8], row[9], sinks))
        read += len(sinks)
        if read > paging.LOOKED_AT and seq != found[-1]:
            return page, seq
    return page, go_on


def deliveries(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int
) -> tuple[list[DeliverySummary], Target | None]:
    """Read a page of deliveries by message, then sink, and the one to go on after; see `paging`."""
    found, go_on = paging.deliveries(connection, selection, seqs, after, limit)
    query = (
        f"SELECT m.{_IDS.replace(', ', ', m.')}, m.received_ms, {DELIVERY}"
        " FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.message = ? AND d.sink = ?"
    )
    rows = [(target, connection.execute(query, (target.seq, target.sink)).fetchone()) for target in found]
    parts = joining.parts(connection, [target.seq for target in found])
    return [
        DeliverySummary(_ids(row[:7]), row[7] / 1000, delivery_of(row[8:], parts.get((target.seq, target.sink))))
        for target, row in rows
        if row is not None
    ], go_on


def chosen(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[Chosen], int | None]:
    """Read a slice of the messages that a selection names, and the seq to go on after; see `paging`."""
    found, go_on = paging.messages(connection, selection, seqs, after, limit)
    query = "SELECT m.seq, m.source, m.status, e.facts FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = ?"
    page = []
    for wanted in found:
        if (row := connection.execute(query, (wanted,)).fetchone()) is not None:
            seq, source, status, facts = row
            page.append(Chosen(seq, source, status == "quarantined", None if facts is None else decode_facts(facts)))
    return page, go_on


def body(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """Read the body of one message; None if it was purged."""
    row = connection.execute("SELECT body FROM messages WHERE seq = ?", (seq,)).fetchone()
    return row[0] if row else None


def states(connection: sqlite3.Connection, targets: Sequence[Target]) -> list[DeliveryState | None]:
    """Read the state of each delivery; None if there is no such delivery yet."""
    query = "SELECT state FROM deliveries WHERE message = ? AND sink = ?"
    rows = (connection.execute(query, (target.seq, target.sink)).fetchone() for target in targets)
    return [row[0] if row else None for row in rows]


def owed(connection: sqlite3.Connection, seqs: Sequence[int], sink: str | None) -> list[Target]:
    """Read every delivery of some messages, or only those to one sink."""
    marks = ",".join("?" * len(seqs))
    rows = connection.execute(
        f"SELECT message, sink FROM deliveries WHERE message IN ({marks}) AND sink = ifnull(?, sink) ORDER BY message, sink",
        (*seqs, sink),
    )
    return [Target(seq, sink) for seq, sink in rows]


def ids(connection: sqlite3.Connection, targets: Sequence[Target]) -> dict[int, Ids]:
    """Read the ids of the messages of some deliveries, by seq."""
    seqs = sorted({target.seq for target in targets})
    found: dict[int, Ids] = {}
    for at in range(0, len(seqs), 500):
        part = seqs[at : at + 500]
        rows = connection.execute(f"SELECT seq, {_IDS} FROM messages WHERE seq IN ({','.join('?' * len(part))})", part)
        found |= {row[0]: _ids(row[1:]) for row in rows}
    return found


def first_since(connection: sqlite3.Connection, instant: float) -> int:
    """Find the seq of about the first message received since an instant, by halving.

    Messages lie in the order of arrival, except around an instant at which the clock was set back.
    """
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


def received_since(connection: sqlite3.Connection, instant: float, after: int, limit: int, most_bytes: int) -> RoutingPage:
    """Read a page of the messages after a seq that could be decoded; see `paging`.

    The page ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
    """
    newest = connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0
    last = paging.last_of_the_next(connection, after)
    page: list[ReceivedBody] = []
    read = 0
    for seq, message_id, source, body, facts in connection.execute(
        "SELECT m.seq, m.id, m.source, m.body, e.facts FROM messages m LEFT JOIN entries e ON e.message = m.seq"
        " WHERE m.seq > ? AND m.seq <= ? AND m.received_ms >= ? AND m.status <> 'quarantined' ORDER BY m.seq LIMIT ?",
        (after, newest if last is None else last, milliseconds(instant), limit),
    ):
        page.append(ReceivedBody(message_id, source, body, None if facts is None else decode_facts(facts)))
        read += len(page[-1].body)
        if len(page) == limit or read > most_bytes:
            return RoutingPage(tuple(page), seq, newest)
    return RoutingPage(tuple(page), last, newest)


def story(connection: sqlite3.Connection, seq: int) -> Story | None:
    """Read one message, its deliveries with their last attempts, and some conflicting duplicates.

    Returns None if the message was purged.
    """
    row = connection.execute(
        f"SELECT {_IDS}, received_ms, status, duplicates, content_type, body, {TRACE_COLUMNS} FROM messages m"
        " LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    deliveries = connection.execute(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,)).fetchall()
    conflicts = connection.execute(
        "SELECT received_ms, sender_id, body FROM conflicts"
        " WHERE rowid IN (SELECT rowid FROM conflicts WHERE message = ? LIMIT ?) ORDER BY rowid LIMIT ?",
        (seq, _CONFLICTS_ORDERED, MOST_CONFLICTS + 1),
    ).fetchall()
    parts = joining.parts(connection, [seq])
    trace = kept_traces.trace_of(row[12:])
    return Story(
        ids=_ids(row[:7]),
        received_at=row[7] / 1000,
        status=row[8],
        duplicates=row[9],
        content_type=text(row[10]),
        body=row[11].decode("utf-8", "replace"),
        deliveries=tuple(
            DeliveryStory(delivery_of(one, parts.get((seq, one[0]))), last_attempts(connection, seq, one[0], MOST_ATTEMPTS))
            for one in deliveries
        ),
        conflicts=tuple(
            Conflict(received_ms / 1000, text(sender_id), body.decode("utf-8", "replace"))
            for received_ms, sender_id, body in conflicts[:MOST_CONFLICTS]
        ),
        more_conflicts=len(conflicts) > MOST_CONFLICTS,
        facts=trace.facts,
        rules=trace.rules,
        signed=trace.signed,
        repeats=kept_traces.repeats(connection, seq) if row[9] else (),
        acts=kept_traces.acts(connection, seq),
    )


def evidence(connection: sqlite3.Connection, seq: int) -> EvidenceMessage | None:
    """Read a message with its raw body, and its deliveries; None if it was purged."""
    row = connection.execute(
        f"SELECT {SIGNED_COLUMNS}, r.number, r.snapshot, m.status, {MESSAGE_COLUMNS} FROM messages m"
        " LEFT JOIN entries e ON e.message = m.seq LEFT JOIN rules r ON r.number = e.rules WHERE m.seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    signed, (number, snapshot) = signed_of(*row[:2]), row[2:4]
    unsigned = NotKept(BEFORE_THIS_VERSION if number is None else NOT_SIGNED)
    deliveries = connection.execute(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,))
    return EvidenceMessage(
        message=message_of(row[5:]),
        status=row[4],
        deliveries=tuple(delivery_of(one) for one in deliveries),
        signed=unsigned if signed is None else KeptSignature(signed.timestamp.decode(), signed.signature.decode(), signed.key),
        rules=NotKept(BEFORE_THIS_VERSION) if number is None else RulesSnapshot(number, snapshot.decode()),
    )


def attempts(
    connection: sqlite3.Connection, seq: int, sink: str, after: int, limit: int
) -> tuple[list[AttemptFacts], int | None]:
    """Read a page of the attempts at one delivery, oldest first, and the number of the attempt to go on after.

    Args:
        after: the number of an attempt; 0 begins.
    """
    rows = connection.execute(
        f"SELECT {ATTEMPT} FROM attempts WHERE message = ? AND sink = ? AND attempt > ? ORDER BY attempt LIMIT ?",
        (seq, sink, after, limit + 1),
    ).fetchall()
    page = [attempt_of(row) for row in rows[:limit]]
    return page, page[-1].number if len(rows) > limit else None


def attempt(connection: sqlite3.Connection, seq: int, sink: str, number: int) -> AttemptFacts | None:
    """Read one attempt at a delivery; None if it was purged."""
    query = f"SELECT {ATTEMPT} FROM attempts WHERE message = ? AND sink = ? AND attempt = ?"
    row = connection.execute(query, (seq, sink, number)).fetchone()
    return None if row is None else attempt_of(row)


def last_attempts(connection: sqlite3.Connection, seq: int, sink: str, limit: int) -> tuple[AttemptFacts, ...]:
    """Read the last attempts at a delivery, the oldest of them first."""
    rows = connection.execute(
        f"SELECT {ATTEMPT} FROM attempts WHERE message = ? AND sink = ? ORDER BY attempt DESC LIMIT ?",
        (seq, sink, limit),
    ).fetchall()
    return tuple(attempt_of(row) for row in reversed(rows))


def attempt_of(row: tuple[Any, ...]) -> AttemptFacts:
    return AttemptFacts(row[0], row[1] / 1000, *row[2:])


def delivery_of(row: tuple[Any, ...], part: joining.JoinPart | None = None) -> DeliveryFacts:
    """Build the facts of a delivery from the columns DELIVERY, and its part in a joined message, if it has one."""
    sink, state, attempts, reason, due_ms, ended_ms = row
    joined = {} if part is None else part.facts(state, reason)
    return DeliveryFacts(sink, state, attempts, reason, seconds(due_ms), seconds(ended_ms), **joined)


def _ids(row: tuple[Any, ...]) -> Ids:
    message_id, sender_id, source, event_type, milestone, sr_uuid, reference_id = row
    return Ids(message_id, text(sender_id), source, text(event_type), milestone, text(sr_uuid), text(reference_id))


def seconds(instant_ms: int | None) -> float | None:
    return None if instant_ms is None else instant_ms / 1000


def text(blob: bytes | None) -> str | None:
    return blob.decode() if blob is not None else None


def messages_after(connection: sqlite3.Connection, seq: int, limit: int) -> list[KeptMessage]:
    """Read a page of messages in the order of acceptance."""
    rows = connection.execute(
        f"SELECT m.seq, m.status, {SIGNED_COLUMNS}, {MESSAGE_COLUMNS} FROM messages m LEFT JOIN entries e ON e.message = m.seq"
        " WHERE m.seq > ? ORDER BY m.seq LIMIT ?",
        (seq, limit),
    ).fetchall()
    return [_kept(connection, row) for row in rows]


def seq_of(connection: sqlite3.Connection, message_id: str) -> int | None:
    """Read the seq of a message; None if there is no such message."""
    row = connection.execute("SELECT seq FROM messages WHERE id = ?", (message_id,)).fetchone()
    return row[0] if row else None


def _kept(connection: sqlite3.Connection, row: tuple[Any, ...]) -> KeptMessage:
    seq, status, label, signed, *columns = row
    suppressed = suppressed_sinks(connection, seq)
    sinks = tuple(sink for sink in _sinks(connection, seq) if sink not in suppressed)
    joined = joining.joined_to(connection, seq)
    return KeptMessage(seq, status, message_of(tuple(columns)), sinks, suppressed, joined, signed_of(label, signed))


def _sinks(connection: sqlite3.Connection, seq: int) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute("SELECT sink FROM deliveries WHERE message = ? ORDER BY sink", (seq,)))
