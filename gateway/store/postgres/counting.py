"""The counters of deliveries by sink and state: each node changes its own row in each transaction, and reading adds them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.documents import CounterPage, Recount
from gateway.core.records import Counts
from gateway.core.selection import DELIVERY_STATES
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of

_COUNT: Final = (
    f"INSERT INTO counters AS c (node, sink, {', '.join(DELIVERY_STATES)}) SELECT $1, k.*"
    " FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS k ON CONFLICT (sink, node)"
    f" DO UPDATE SET {', '.join(f'{state} = c.{state} + excluded.{state}' for state in DELIVERY_STATES)}"
)
_FIRST_DUE: Final = "(SELECT due_ms FROM deliveries WHERE sink = $1 AND state = 'queued' AND {} ORDER BY due_ms LIMIT 1)"
_SUMS: Final = ", ".join(f"sum({state})::bigint" for state in Counts.__struct_fields__)


async def count(connection: Connection, changes: Changes, node: int) -> None:
    """Add the changes of a transaction to the counters of a node, at its end."""
    rows = [(sink, *(changes[sink, state] for state in DELIVERY_STATES)) for sink in sorted({sink for sink, _ in changes})]
    if rows:
        await connection.execute(_COUNT, node, *columns_of(rows, 1 + len(DELIVERY_STATES)))


async def counters(connection: Connection) -> dict[str, Counts]:
    """Read the counters by sink as they stand. Only a wrong counter is below 0."""
    rows = await connection.fetch(f"SELECT sink, {_SUMS} FROM counters GROUP BY sink ORDER BY sink")
    return {row[0]: Counts(*row[1:]) for row in rows}


async def counts(connection: Connection) -> dict[str, Counts]:
    """Read the numbers by sink from the counters, never from the deliveries. A wrong counter below 0 shows as 0."""
    return {
        sink: Counts(**{state: max(getattr(kept, state), 0) for state in Counts.__struct_fields__})
        for sink, kept in (await counters(connection)).items()
    }


async def oldest_due(connection: Connection, sink: str, *, by_sr: bool) -> float | None:
    """Read when the delivery of a sink that waits longest was, or will be, due; with `by_sr`, of those that may go."""
    due_ms = await connection.fetchval(
        f"SELECT least({_FIRST_DUE.format('NOT behind')}, {_FIRST_DUE.format('behind AND NOT $2')})"
        " + (SELECT jumped_ms FROM timeline)",
        sink,
        by_sr,
    )
    return None if due_ms is None else due_ms / 1000


async def recount(connection: Connection, sink: str) -> Recount:
    """Read the counters of queued and dead deliveries of a sink, and count them by their indexes, in one snapshot."""
    row = await connection.fetchrow(
        "SELECT coalesce((SELECT sum(queued) FROM counters WHERE sink = $1), 0)::bigint,"
        " coalesce((SELECT sum(dead) FROM counters WHERE sink = $1), 0)::bigint,"
        " (SELECT count(*) FROM deliveries WHERE sink = $1 AND state = 'queued'),"
        " (SELECT count(*) FROM deliveries WHERE sink = $1 AND state = 'dead')",
        sink,
    )
    assert row is not None
    return Recount(*row)


async def count_page(connection: Connection, after: int, size: int) -> CounterPage:
    """Count the deliveries of the next `size` seqs beyond `after`, and read the counters of the same instant."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):  # one snapshot for all queries
        first = await connection.fetchval("SELECT min(message) FROM deliveries WHERE message > $1", after)
        last = (after if first is None else first) + size - 1
        found = await connection.fetch(
            "SELECT sink, state, count(*) FROM deliveries WHERE message > $1 AND message <= $2 GROUP BY sink, state", after, last
        )
        more = await connection.fetchval("SELECT 1 FROM deliveries WHERE message > $1 LIMIT 1", last)
        numbers = {(sink, state): number for sink, state, number in found}
        return CounterPage(await counters(connection), numbers, last if more else None)


async def mend_counters(connection: Connection, changes: Changes, *, sink: str, by: Mapping[str, int]) -> None:
    """Add the given numbers to the counters of a sink, by state: a count found the counters short of them."""
    for state, number in by.items():
        changes[sink, state] += number
