"""The order of service requests in the database, see `store.turns`. The requests are locked by the transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gateway.store.counted import Changes
from gateway.store.new_rows import DeliveryRow
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of
from gateway.store.postgres.request_locks import lock_of_messages
from gateway.store.turns import Place, Turn, placed

_FIRST: Final = (
    "unnest($1::text[], $2::bytea[]) AS k (sink, sr) CROSS JOIN LATERAL (SELECT d.event_ms, d.message FROM deliveries d"
    " WHERE d.sink = k.sink AND d.sr = k.sr AND d.state = 'queued' AND d.sr IS NOT NULL"
    " ORDER BY d.event_ms, d.message LIMIT 1) AS f"
)
_STAND_BEHIND: Final = (
    "UPDATE deliveries d SET behind = true FROM unnest($1::bigint[], $2::text[]) AS k (message, sink)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state = 'queued' AND NOT d.behind"
)
_LET_GO: Final = (
    f"UPDATE deliveries d SET behind = false FROM (SELECT k.sink, f.message FROM {_FIRST}) AS first"
    " WHERE d.message = first.message AND d.sink = first.sink AND d.state = 'queued' AND d.behind"
)
_NEXT: Final = (
    "SELECT d.due_ms, d.message, d.sr IS NULL AND NOT d.replayed, nullif(m.sr_uuid, ''), m.event_ms"
    " FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.sink = $1 AND d.state = 'queued' AND NOT d.behind"
    " AND (d.due_ms, d.message) > ($2, $3) ORDER BY d.due_ms, d.message LIMIT $4"
)
_GIVE: Final = (
    "UPDATE deliveries d SET sr = k.sr, event_ms = k.event_ms, behind = k.behind"
    " FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::boolean[]) AS k (message, sink, sr, event_ms, behind)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state = 'queued' AND d.sr IS NULL"
)


async def take(connection: Connection, rows: Sequence[DeliveryRow]) -> list[DeliveryRow]:
    """Give new deliveries their place in the order, and put the deliveries that they overtake behind them.

    Returns the rows to be inserted, each with its value of `behind`.
    """
    turns = sorted({(row[1], row[4]) for row in rows if row[4] is not None})
    found = await connection.fetch(f"SELECT k.sink, k.sr, f.event_ms, f.message FROM {_FIRST}", *columns_of(turns, 2))
    ordered, overtaken = placed(rows, {(sink, sr): (event_ms, seq) for sink, sr, event_ms, seq in found})
    if overtaken:
        await connection.execute(_STAND_BEHIND, *columns_of(overtaken, 2))
    return ordered


async def pass_on(connection: Connection, left: Collection[Turn]) -> None:
    """Let the first open delivery of each service request go, because one before it ended."""
    if left:
        await connection.execute(_LET_GO, *columns_of(sorted(set(left)), 2))


async def bring_into_order(connection: Connection, changes: Changes, *, sink: str, after: Place, size: int) -> Place | None:
    """Look at the next `size` open deliveries of a sink, and give those without a place one in the order.

    Args:
        after: the place to go on after; BEGINNING begins.
    Returns the place to go on after; None at the end. It may begin again at any time.
    """
    seen = await connection.fetch(_NEXT, sink, *after, size)
    await lock_of_messages(connection, [row[1] for row in seen])
    rows = await connection.fetch(_NEXT, sink, *after, size)  # as the owners of the locks left them
    locked = {row[1] for row in seen}
    new: list[DeliveryRow] = [
        (seq, sink, 0, due_ms, sr, event_ms, 0)
        for due_ms, seq, without, sr, event_ms in rows
        if without and sr is not None and seq in locked
    ]
    if new:
        ordered = await take(connection, new)
        values = [(seq, sink, sr, event_ms, bool(behind)) for seq, sink, _, _, sr, event_ms, behind in ordered]
        await connection.execute(_GIVE, *columns_of(values, 5))
    if any(row[1] not in locked for row in rows):
        return after  # others came between the two looks: the next slice looks at them with their locks
    return (rows[-1][0], rows[-1][1]) if len(rows) == size else None
