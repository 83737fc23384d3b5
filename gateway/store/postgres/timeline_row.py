"""The row that remembers how far the wall clock has jumped, see `store.timeline`."""

from __future__ import annotations

from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection


async def read_timeline(connection: Connection) -> tuple[int, float]:
    """Read the milliseconds of all jumps of the wall clock, and its last instant that was kept; (0, 0.0) at first."""
    row = await connection.fetchrow("SELECT jumped_ms, seen_ms FROM timeline")
    return (0, 0.0) if row is None else (row[0], row[1] / 1000)


async def keep_time(connection: Connection, changes: Changes, *, jumped_ms: int, seen: float) -> None:
    """Remember the jumps of the wall clock, and what it says now."""
    await connection.execute("UPDATE timeline SET jumped_ms = $1, seen_ms = $2", jumped_ms, milliseconds(seen))
