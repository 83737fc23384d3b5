"""The deliveries that a rule suppressed when their message came: they exist, so that people find them, and have ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.core.outcome import Reason
from gateway.store.counted import Changes
from gateway.store.ledger_state import Judged
from gateway.store.new_rows import suppressed_rows
from gateway.store.sqlite.many_rows import chunks, marks, values_of

_ROW = f"(?, ?, ?, ?, 'discarded', '{Reason.STALE.value}')"


def insert_suppressed(connection: sqlite3.Connection, accepted: Sequence[tuple[Judged, int]], changes: Changes) -> None:
    """Insert the suppressed deliveries of messages that were accepted, each with its seq.

    Most batches have none, and then it runs nothing.
    """
    rows = [(*row, row[2]) for row in suppressed_rows(accepted)]
    for part in chunks(rows):
        connection.execute(
            f"INSERT INTO deliveries (message, sink, since_ms, ended_ms, state, reason) VALUES {marks(len(part), _ROW)}",
            values_of(part),
        )
    changes.update([(row[1], "discarded") for row in rows])


def suppressed_sinks(connection: sqlite3.Connection, seq: int) -> tuple[str, ...]:
    """Return the sinks whose deliveries of a message a rule suppressed, and nobody has replayed since."""
    rows = connection.execute(
        "SELECT sink FROM deliveries WHERE message = ? AND state = 'discarded' AND reason = ? AND attempts = 0 ORDER BY sink",
        (seq, Reason.STALE.value),
    )
    return tuple(row[0] for row in rows)
