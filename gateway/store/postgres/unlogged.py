"""Committed steps whose audit lines may not be written yet: each transaction of a node keeps its own until they are written.

The same statement counts the commit, so that a node knows after the loss of its connection whether its last one was committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.records import Step
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection
from gateway.store.steps import decode_steps, encode_steps

_COUNT_AND_NOTE: Final = (
    "WITH counted AS (UPDATE nodes SET commits = $2 WHERE node = $1)"
    " INSERT INTO unlogged (node, steps) SELECT $1, $3::bytea WHERE $3 IS NOT NULL RETURNING id"
)


async def count_and_note(connection: Connection, node: int, commit: int, steps: Sequence[Step]) -> int:
    """Count the commit of a node, and keep its steps. Returns their mark; 0 if there are none."""
    return int(await connection.fetchval(_COUNT_AND_NOTE, node, commit, encode_steps(steps) if steps else None) or 0)


async def note(connection: Connection, node: int, steps: Sequence[Step]) -> None:
    """Keep further steps of a transaction."""
    if steps:
        await connection.execute("INSERT INTO unlogged (node, steps) VALUES ($1, $2)", node, encode_steps(steps))


async def commits(connection: Connection, node: int) -> int:
    """Read the number of the last commit of a node."""
    return int(await connection.fetchval("SELECT commits FROM nodes WHERE node = $1", node) or 0)


async def newest(connection: Connection, node: int) -> int:
    """Read the mark of the newest kept commit of a node; 0 if none is kept."""
    return int(await connection.fetchval("SELECT max(id) FROM unlogged WHERE node = $1", node) or 0)


async def forget(connection: Connection, node: int, mark: int) -> None:
    """Drop the steps of a node up to a mark: their lines are written."""
    await connection.execute("DELETE FROM unlogged WHERE node = $1 AND id <= $2", node, mark)


async def forget_lives_before(connection: Connection, changes: Changes, *, node: int, mark: int) -> None:
    """Drop the steps of earlier lives, which end at a mark: the catch-up has written their lines."""
    await forget(connection, node, mark)


async def kept(connection: Connection, node: int, after: int, limit: int) -> list[tuple[int, list[Step]]]:
    """Read a page of kept commits of a node: the mark and the steps of each."""
    query = "SELECT id, steps FROM unlogged WHERE node = $1 AND id > $2 ORDER BY id LIMIT $3"
    return [(mark, decode_steps(steps)) for mark, steps in await connection.fetch(query, node, after, limit)]
