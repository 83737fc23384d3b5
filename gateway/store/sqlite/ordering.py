"""The order of service requests: of the open deliveries of one sink and service request, exactly the first may go.

The first is the one whose event happened first, then the one accepted first; the others are `behind` it. Deliveries without a
service request are never behind. Everything here runs in the writer's transaction, in few statements however many there are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import cache

from gateway.store import turns
from gateway.store.counted import Changes
from gateway.store.new_rows import DeliveryRow
from gateway.store.sqlite.many_rows import EXISTING, chunks, marks, values_of
from gateway.store.turns import Place, Turn

_FIRST = (
    "(SELECT {} FROM deliveries INDEXED BY deliveries_by_sr WHERE sink = k.column1 AND sr = k.column2 AND state = 'queued'"
    " ORDER BY event_ms, message LIMIT 1)"
)
_ORDERED_ROW = "(?, ?, ?, ?, ?, ?, ?, 'queued')"


def take(connection: sqlite3.Connection, rows: Sequence[DeliveryRow]) -> list[DeliveryRow]:
    """Give new deliveries their place in the order, and put the deliveries that they overtake behind them.

    Returns the rows to be inserted, each with its value of `behind`.
    """
    stored = _firsts(connection, {(row[1], row[4]) for row in rows if row[4] is not None})
    placed, overtaken = turns.placed(rows, stored)
    for part in chunks(overtaken):
        connection.execute(_stand_behind(len(part)), values_of(part))
    return placed


def pass_on(connection: sqlite3.Connection, left: Collection[Turn]) -> None:
    """Let the first open delivery of each service request go, because one before it ended."""
    for part in chunks(list(dict.fromkeys(left))):
        connection.execute(_let_go(len(part)), values_of(part))


def bring_into_order(connection: sqlite3.Connection, changes: Changes, *, sink: str, after: Place, size: int) -> Place | None:
    """Look at the next `size` open deliveries of a sink, and give those without a place one in the order.

    Args:
        after: the place to go on after; BEGINNING begins.
    Returns the place to go on after; None at the end. It may begin again at any time. A delivery that is attempted meanwhile is
    not missed: its next attempt is due later than everything that was due before.
    """
    rows = connection.execute(
        "SELECT d.due_ms, d.message, d.sr IS NULL AND NOT d.replayed, nullif(m.sr_uuid, x''), m.event_ms"
        " FROM deliveries d INDEXED BY deliveries_due CROSS JOIN messages m ON m.seq = d.message WHERE d.sink = ?"
        " AND d.state = 'queued' AND d.behind = 0 AND (d.due_ms, d.message) > (?, ?) ORDER BY d.due_ms, d.message LIMIT ?",
        (sink, *after, size),
    ).fetchall()
    new = [(seq, sink, 0, due_ms, sr, event_ms, 0) for due_ms, seq, without, sr, event_ms in rows if without and sr is not None]
    for part in chunks(take(connection, new)):
        connection.execute(
            "INSERT INTO deliveries (message, sink, since_ms, due_ms, sr, event_ms, behind, state) VALUES"
            f" {marks(len(part), _ORDERED_ROW)} ON CONFLICT (message, sink) DO UPDATE SET"
            " sr = excluded.sr, event_ms = excluded.event_ms, behind = excluded.behind"
            " WHERE deliveries.state = 'queued' AND deliveries.sr IS NULL",
            values_of(part),
        )
    return (rows[-1][0], rows[-1][1]) if len(rows) == size else None


def _firsts(connection: sqlite3.Connection, turns: Collection[Turn]) -> dict[Turn, tuple[int, int]]:
    """Read the event's instant and the message of the first open delivery of each service request that has one."""
    found = {}
    for part in chunks(sorted(turns)):
        for sink, sr, event_ms, seq in connection.execute(_find_firsts(len(part)), values_of(part)):
            if seq is not None:
                found[sink, sr] = (event_ms, seq)
    return found


@cache
def _find_firsts(rows: int) -> str:
    return f"SELECT column1, column2, {_FIRST.format('event_ms')}, {_FIRST.format('message')} FROM (VALUES {marks(rows)}) AS k"


@cache
def _stand_behind(rows: int) -> str:
    return (
        f"INSERT INTO deliveries (message, sink, state, since_ms, due_ms) VALUES {marks(rows, EXISTING)}"
        " ON CONFLICT (message, sink) DO UPDATE SET behind = 1 WHERE deliveries.state = 'queued' AND deliveries.behind = 0"
    )


@cache
def _let_go(rows: int) -> str:
    firsts = f"SELECT {_FIRST.format('message')} AS message, column1 AS sink FROM (VALUES {marks(rows)}) AS k"
    return (
        "INSERT INTO deliveries (message, sink, state, since_ms, due_ms)"
        f" SELECT message, sink, 'queued', 0, 0 FROM ({firsts}) WHERE message IS NOT NULL"
        " ON CONFLICT (message, sink) DO UPDATE SET behind = 0 WHERE deliveries.state = 'queued' AND deliveries.behind = 1"
    )
