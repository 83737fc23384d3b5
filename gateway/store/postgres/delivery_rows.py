"""The rows of deliveries: how new ones are inserted, and how some are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.store.new_rows import DeliveryRow
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of

_QUEUED: Final = (
    "INSERT INTO deliveries (message, sink, since_ms, due_ms, sr, event_ms, behind, state) SELECT k.*, 'queued'"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::boolean[]) AS k"
)
_DISCARDED: Final = (
    "INSERT INTO deliveries (message, sink, since_ms, ended_ms, reason, state)"
    " SELECT k.message, k.sink, k.at_ms, k.at_ms, k.reason, 'discarded'"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) AS k (message, sink, at_ms, reason)"
)
_FIND: Final = (
    "SELECT d.message, d.sink, d.attempts, d.state, d.sr FROM unnest($1::bigint[], $2::text[])"
    " WITH ORDINALITY AS k (message, sink, at) JOIN deliveries d ON d.message = k.message AND d.sink = k.sink ORDER BY k.at"
)


async def insert_queued(connection: Connection, rows: Sequence[DeliveryRow]) -> None:
    """Insert new deliveries that are queued."""
    if rows:
        await connection.execute(_QUEUED, *columns_of([(*row[:6], bool(row[6])) for row in rows], 7))


async def insert_discarded(connection: Connection, rows: Sequence[tuple[int, str, int, str]]) -> None:
    """Insert deliveries that end as they begin: message, sink, instant and reason."""
    if rows:
        await connection.execute(_DISCARDED, *columns_of(rows, 4))


async def find(
    connection: Connection, keys: Sequence[tuple[int, str]], *, locked: bool = False
) -> list[tuple[int, str, int, str, bytes | None]]:
    """Read message, sink, attempts, state and service request of the deliveries that exist, in the order of the keys.

    Args:
        locked: nobody else changes them until the transaction is over.
    """
    found = await connection.fetch(_FIND + " FOR UPDATE OF d" * locked, *columns_of(keys, 2))
    return [(row[0], row[1], row[2], row[3], row[4]) for row in found]
