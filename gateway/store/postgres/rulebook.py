"""The rules by which messages were routed: one row for each configuration of them."""

from __future__ import annotations

import hashlib
from typing import Final

from gateway.core.request_documents import KeptRules
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection

_PURGED_AT_ONCE: Final = 4


async def keep(connection: Connection, changes: Changes, *, snapshot: bytes, now: float) -> int:
    """Keep a snapshot of rules, unless it is there. Returns its number. The rules count as used until others are."""
    # Rules that come back: no purge may delete them before `use` is called for them.
    return int(
        await connection.fetchval(
            "INSERT INTO rules (sha256, since_ms, snapshot) VALUES ($1, $2, $3)"
            " ON CONFLICT (sha256) DO UPDATE SET until_ms = NULL RETURNING number",
            hashlib.sha256(snapshot).digest(),
            milliseconds(now),
            snapshot,
        )
    )


async def use(connection: Connection, changes: Changes, *, number: int, now: float) -> None:
    """Note that these rules are in use now, and no others."""
    await connection.execute("UPDATE rules SET until_ms = $1 WHERE until_ms IS NULL AND number <> $2", milliseconds(now), number)
    await connection.execute("UPDATE rules SET until_ms = NULL WHERE number = $1", number)


async def kept(connection: Connection, number: int) -> KeptRules | None:
    """Read the rules of a number; None if there are none."""
    row = await connection.fetchrow("SELECT number, since_ms, snapshot FROM rules WHERE number = $1", number)
    return None if row is None else KeptRules(row[0], row[1] / 1000, row[2])


async def purge(connection: Connection, before: float) -> None:
    """Delete some rules that routed no message since an instant, and some that are too many."""
    await connection.execute(
        "DELETE FROM rules WHERE number IN (SELECT number FROM rules WHERE until_ms < $1 OR (until_ms IS NOT NULL AND number <="
        " (SELECT number FROM rules ORDER BY number DESC LIMIT 1 OFFSET $2)) LIMIT $3)",
        milliseconds(before),
        bounds.MOST_RULES,
        _PURGED_AT_ONCE,
    )
