"""The story of one service request: its messages by the chain of their entries, with what became of each at each sink."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gateway.core.documents import Ids
from gateway.core.request_documents import RequestStory, TracedDelivery, TracedEvent
from gateway.store.sqlite import joining, kept_traces, request_lookup
from gateway.store.sqlite.columns import text
from gateway.store.sqlite.hot_rows import Key, Standing
from gateway.store.sqlite.kept_traces import TRACE_COLUMNS
from gateway.store.sqlite.queries import DELIVERY, delivery_of, last_attempts
from gateway.store.sqlite.request_lookup import Rows
from gateway.store.sqlite.request_questions import known
from gateway.store.sqlite.request_rows import REQUESTS, STANDING, standing_of

_MOST_DELIVERIES: Final = 2000
"""Deliveries in one page; the page ends with the message that exceeds it."""
MOST_BODY: Final = 64 * 1024
"""Bytes of the longest body that a story has."""
_EVENT = (
    "SELECT m.id, m.sender_id, m.source, m.event_type, m.milestone, m.sr_uuid, m.reference_id, m.event_ms, m.received_ms,"
    " m.status, m.duplicates,"
    f" {TRACE_COLUMNS}, CASE WHEN length(m.body) <= {MOST_BODY} THEN m.body END"
    " FROM messages m JOIN entries e ON e.message = m.seq WHERE m.seq = ?"
)


def story(connection: sqlite3.Connection, number: int, before: int | None, limit: int, rows: Rows) -> RequestStory | None:
    """Read a page of the story of a request; None if there is no such request."""
    connection.execute("BEGIN")  # one snapshot for all queries
    try:
        found = _row(connection, number, rows)
        return None if found is None else _story(connection, *found, before, limit)
    finally:
        connection.execute("ROLLBACK")


def _row(connection: sqlite3.Connection, number: int, rows: Rows) -> tuple[Key, Standing] | None:
    for key, row in rows.unflushed.items():
        if row.number == number:
            return key, row
    query = f"SELECT r.source, r.sr_uuid, {STANDING} FROM {REQUESTS} WHERE r.number = ?"
    found = connection.execute(query, (number,)).fetchone()
    return None if found is None else ((found[0], found[1].decode()), standing_of(found[2:]))


def _story(connection: sqlite3.Connection, key: Key, row: Standing, before: int | None, limit: int) -> RequestStory:
    start = row.last if before is None else _before(connection, before)
    seqs = [] if start is None else request_lookup.chain(connection, start, limit)
    events: list[TracedEvent] = []
    deliveries = 0
    for seq in seqs:
        if deliveries > _MOST_DELIVERIES:
            break
        events.append(event := _event(connection, seq))
        deliveries += len(event.deliveries)
    go_on = None
    purged = False
    if events and (older := _before(connection, events[-1].seq)) is not None:
        there = connection.execute("SELECT 1 FROM entries WHERE message = ?", (older,)).fetchone() is not None
        go_on, purged = (events[-1].seq, False) if there else (None, True)
    events.sort(key=lambda event: (event.happened_at, event.seq))
    return RequestStory(known(connection, key, row), tuple(events), go_on, purged)


def _before(connection: sqlite3.Connection, seq: int) -> int | None:
    """Read the seq of the request's message before one; None if that was the first."""
    row = connection.execute("SELECT before FROM entries WHERE message = ?", (seq,)).fetchone()
    return None if row is None else row[0]


def _event(connection: sqlite3.Connection, seq: int) -> TracedEvent:
    row = connection.execute(_EVENT, (seq,)).fetchone()
    event_ms, received_ms, status, duplicates, *_, body = row[7:]
    trace = kept_traces.trace_of(row[11:15])
    facts = trace.facts
    by_arrival = facts is not None and (facts.undated or facts.future)
    message_id, sender_id, source, event_type, milestone, sr_uuid, reference_id = row[:7]
    return TracedEvent(
        seq=seq,
        ids=Ids(message_id, text(sender_id), source, text(event_type), milestone, text(sr_uuid), text(reference_id)),
        happened_at=(received_ms if by_arrival else event_ms) / 1000,
        received_at=received_ms / 1000,
        status=status,
        facts=facts,
        rules=trace.rules,
        signed=trace.signed,
        duplicates=duplicates,
        repeats=kept_traces.repeats(connection, seq) if duplicates else (),
        deliveries=_deliveries(connection, seq),
        acts=kept_traces.acts(connection, seq),
        body=body,
    )


def _deliveries(connection: sqlite3.Connection, seq: int) -> tuple[TracedDelivery, ...]:
    found: list[tuple[Any, ...]] = connection.execute(
        f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,)
    ).fetchall()
    parts = joining.parts(connection, [seq])
    traced = []
    for row in found:
        attempts = last_attempts(connection, seq, row[0], 1)
        traced.append(TracedDelivery(delivery_of(row, parts.get((seq, row[0]))), attempts[0] if attempts else None))
    return tuple(traced)
