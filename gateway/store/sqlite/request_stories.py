"""The story of one service request: its messages by the chain of their entries, with what became of each at each sink."""

from __future__ import annotations

import sqlite3

from gateway.core.request_documents import RequestStory, TracedEvent
from gateway.store import bounds
from gateway.store.answers import EVENT, event_of
from gateway.store.columns import DELIVERY, STANDING, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.sqlite import joining, kept_traces, request_lookup
from gateway.store.sqlite.overlay import Rows
from gateway.store.sqlite.queries import last_attempts
from gateway.store.sqlite.request_questions import known
from gateway.store.sqlite.request_rows import REQUESTS

_EVENT = f"SELECT {EVENT} FROM messages m JOIN entries e ON e.message = m.seq WHERE m.seq = ?"


def story(connection: sqlite3.Connection, number: int, before: int | None, limit: int, rows: Rows) -> RequestStory | None:
    """Read a page of the story of a request; None if there is no such request."""
    connection.execute("BEGIN")  # one snapshot for all queries
    try:
        found = _row(connection, number, rows)
        return None if found is None else _story(connection, *found, before, limit)
    finally:
        connection.execute("ROLLBACK")


def _row(connection: sqlite3.Connection, number: int, rows: Rows) -> tuple[Key, Standing] | None:
    if (waits := rows.of_number(number)) is not None:
        return waits
    query = f"SELECT r.source, r.sr_uuid, {STANDING} FROM {REQUESTS} WHERE r.number = ?"
    found = connection.execute(query, (number,)).fetchone()
    return None if found is None else ((found[0], found[1].decode()), standing_of(found[2:]))


def _story(connection: sqlite3.Connection, key: Key, row: Standing, before: int | None, limit: int) -> RequestStory:
    start = row.last if before is None else _before(connection, before)
    seqs = [] if start is None else request_lookup.chain(connection, start, limit)
    events: list[TracedEvent] = []
    deliveries = 0
    for seq in seqs:
        if deliveries > bounds.MOST_DELIVERIES:
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
    deliveries = connection.execute(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = ? ORDER BY d.sink", (seq,)).fetchall()
    return event_of(
        seq,
        row,
        deliveries=deliveries,
        parts=joining.parts(connection, [seq]),
        attempts={(seq, one[0]): last_attempts(connection, seq, one[0], 1) for one in deliveries},
        repeats=kept_traces.repeats(connection, seq) if row[10] else (),
        acts=kept_traces.acts(connection, seq),
    )
