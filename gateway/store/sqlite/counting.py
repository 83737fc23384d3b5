"""The counters of deliveries by sink and state: kept in each transaction, read, and compared with the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import cache

from gateway.core.documents import CounterPage, Recount
from gateway.core.records import Counts
from gateway.core.selection import DELIVERY_STATES
from gateway.store.counted import Changes
from gateway.store.sqlite.many_rows import MOST_ROWS, marks, values_of


def count(connection: sqlite3.Connection, changes: Changes) -> None:
    """Add the changes of a transaction to the counters, at its end."""
    rows = [(sink, *(changes[sink, state] for state in DELIVERY_STATES)) for sink in sorted({sink for sink, _ in changes})]
    for at in range(0, len(rows), MOST_ROWS):
        part = rows[at : at + MOST_ROWS]
        connection.execute(_count(len(part)), values_of(part))


@cache
def _count(rows: int) -> str:
    return (
        f"INSERT INTO counters (sink, {', '.join(DELIVERY_STATES)}) VALUES {marks(rows, '(?, ?, ?, ?, ?)')} ON CONFLICT (sink)"
        f" DO UPDATE SET {', '.join(f'{state} = {state} + excluded.{state}' for state in DELIVERY_STATES)}"
    )


def counts(connection: sqlite3.Connection) -> dict[str, Counts]:
    """Read the numbers by sink from the counters, never from the deliveries. A wrong counter below 0 shows as 0."""
    return {
        sink: Counts(**{state: max(getattr(kept, state), 0) for state in Counts.__struct_fields__})
        for sink, kept in counters(connection).items()
    }


def counters(connection: sqlite3.Connection) -> dict[str, Counts]:
    """Read the counters by sink as they stand. Only a wrong counter is below 0."""
    rows = connection.execute("SELECT sink, queued, delivered, dead, discarded FROM counters ORDER BY sink")
    return {row[0]: Counts(*row[1:]) for row in rows}


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
    """Count the deliveries of the next `size` seqs beyond `after`, and read the counters of the same instant."""
    connection.execute("BEGIN")  # one snapshot for all queries
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


def mend_counters(connection: sqlite3.Connection, changes: Changes, *, sink: str, by: Mapping[str, int]) -> None:
    """Add the given numbers to the counters of a sink, by state: a count found the counters short of them."""
    for state, number in by.items():
        changes[sink, state] += number
