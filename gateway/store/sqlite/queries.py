"""Answers to people about messages and deliveries. Each is one page of bounded cost, on a read-only connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.core.documents import (
    AttemptFacts,
    Chosen,
    DeliverySummary,
    Ids,
    KeptMessage,
    MessageSummary,
    ReceivedBody,
    RoutingPage,
    Story,
)
from gateway.core.evidence_file import EvidenceMessage
from gateway.core.selection import DeliveryState, Selection, Target
from gateway.store import bounds
from gateway.store.answers import EVIDENCE, STORY, evidence_of, story_of
from gateway.store.columns import (
    ATTEMPT,
    DELIVERY,
    IDS,
    MESSAGE_COLUMNS,
    SIGNED_COLUMNS,
    attempt_of,
    delivery_of,
    facts_of,
    ids_of,
    message_of,
    milliseconds,
    signed_of,
)
from gateway.store.sqlite import joining, kept_traces, newest_first, paging
from gateway.store.sqlite.suppressed_rows import suppressed_sinks


def messages(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[MessageSummary], int | None]:
    """Read a page of messages in the order of acceptance, and the seq to go on after; see `paging`.

    The page also ends with the message that makes its deliveries more than `bounds.LOOKED_AT`.
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
    query = f"SELECT {IDS}, m.received_ms, m.status, m.duplicates FROM messages m WHERE m.seq = ?"
    for seq in found:
        row = connection.execute(query, (seq,)).fetchone()
        if row is None:  # purged since
            continue
        sinks = dict(connection.execute("SELECT sink, state FROM deliveries WHERE message = ? ORDER BY sink", (seq,)))
        page.append(MessageSummary(ids_of(row[:7]), row[7] / 1000, row[8], row[9], sinks))
        read += len(sinks)
        if read > bounds.LOOKED_AT and seq != found[-1]:
            return page, seq
    return page, go_on


def deliveries(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int
) -> tuple[list[DeliverySummary], Target | None]:
    """Read a page of deliveries by message, then sink, and the one to go on after; see `paging`."""
    found, go_on = paging.deliveries(connection, selection, seqs, after, limit)
    query = (
        f"SELECT {IDS}, m.received_ms, {DELIVERY}"
        " FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.message = ? AND d.sink = ?"
    )
    rows = [(target, connection.execute(query, (target.seq, target.sink)).fetchone()) for target in found]
    parts = joining.parts(connection, [target.seq for target in found])
    return [
        DeliverySummary(ids_of(row[:7]), row[7] / 1000, delivery_of(row[8:], parts.get((target.seq, target.sink))))
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
            page.append(Chosen(seq, source, status == "quarantined", facts_of(facts)))
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
        rows = connection.execute(f"SELECT m.seq, {IDS} FROM messages m WHERE m.seq IN ({','.join('?' * len(part))})", part)
        found |= {row[0]: ids_of(row[1:]) for row in rows}
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
        page.append(ReceivedBody(message_id, source, body, facts_of(facts)))
        read += len(page[-1].body)
        if len(page) == limit or read > most_bytes:
            return RoutingPage(tuple(page), seq, newest)
    return RoutingPage(tuple(page), last, newest)


def story(connection: sqlite3.Connection, seq: int) -> Story | None:
    """Read one message, its deliveries with their last attempts, and some conflicting duplicates.

    Returns None if the message was purged.
    """
    row = connection.execute(
        f"SELECT {STORY} FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = ?", (seq,)
    ).fetchone()
    if row is None:
        return None
    deliveries = connection.execute(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,)).fetchall()
    conflicts = connection.execute(
        "SELECT received_ms, sender_id, body FROM conflicts"
        " WHERE rowid IN (SELECT rowid FROM conflicts WHERE message = ? LIMIT ?) ORDER BY rowid LIMIT ?",
        (seq, bounds.CONFLICTS_ORDERED, bounds.MOST_CONFLICTS + 1),
    ).fetchall()
    return story_of(
        seq,
        row,
        deliveries=deliveries,
        parts=joining.parts(connection, [seq]),
        attempts={(seq, one[0]): last_attempts(connection, seq, one[0], bounds.MOST_ATTEMPTS) for one in deliveries},
        conflicts=conflicts,
        repeats=kept_traces.repeats(connection, seq) if row[9] else (),
        acts=kept_traces.acts(connection, seq),
    )


def evidence(connection: sqlite3.Connection, seq: int) -> EvidenceMessage | None:
    """Read a message with its raw body, and its deliveries; None if it was purged."""
    row = connection.execute(
        f"SELECT {EVIDENCE} FROM messages m LEFT JOIN entries e ON e.message = m.seq LEFT JOIN rules r ON r.number = e.rules"
        " WHERE m.seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    deliveries = connection.execute(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,))
    return evidence_of(row, map(delivery_of, deliveries))


def attempts(
    connection: sqlite3.Connection, seq: int, sink: str, after: int, limit: int
) -> tuple[list[AttemptFacts], int | None]:
    """Read a page of the attempts at one delivery, oldest first, and the number of the attempt to go on after.

    Args:
        after: the number of an attempt; 0 begins.
    """
    rows = connection.execute(
        f"SELECT {ATTEMPT} FROM attempts a WHERE a.message = ? AND a.sink = ? AND a.attempt > ? ORDER BY a.attempt LIMIT ?",
        (seq, sink, after, limit + 1),
    ).fetchall()
    page = [attempt_of(row) for row in rows[:limit]]
    return page, page[-1].number if len(rows) > limit else None


def attempt(connection: sqlite3.Connection, seq: int, sink: str, number: int) -> AttemptFacts | None:
    """Read one attempt at a delivery; None if it was purged."""
    query = f"SELECT {ATTEMPT} FROM attempts a WHERE a.message = ? AND a.sink = ? AND a.attempt = ?"
    row = connection.execute(query, (seq, sink, number)).fetchone()
    return None if row is None else attempt_of(row)


def last_attempts(connection: sqlite3.Connection, seq: int, sink: str, limit: int) -> tuple[AttemptFacts, ...]:
    """Read the last attempts at a delivery, the oldest of them first."""
    rows = connection.execute(
        f"SELECT {ATTEMPT} FROM attempts a WHERE a.message = ? AND a.sink = ? ORDER BY a.attempt DESC LIMIT ?",
        (seq, sink, limit),
    ).fetchall()
    return tuple(attempt_of(row) for row in reversed(rows))


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
