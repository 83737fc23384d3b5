"""The row of each node that works on a database."""

from __future__ import annotations

from msgspec import Struct

from gateway.store.postgres.connection import Connection
from gateway.store.postgres.node_names import free_lanes, hold_name, release_name


class NodeLife(Struct, frozen=True):
    """The life of a node that has just begun."""

    node: int
    """Its number, by which rows name it."""
    after_unclean_end: bool
    """The life before did not end cleanly."""
    commits: int
    """The number of its last commit."""


async def begin_life(connection: Connection, name: str, boot: str, version: str) -> NodeLife:
    """Give a node its row, or find it, and note that it runs now.

    Args:
        boot: a text that no other life of a node has.
    Raises StoreLocked if a node of this name is alive.
    """
    await hold_name(connection, name)
    async with connection.transaction():
        await connection.execute("INSERT INTO nodes (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
        row = await connection.fetchrow("SELECT node, boot, commits FROM nodes WHERE name = $1 FOR UPDATE", name)
        assert row is not None
        await connection.execute(
            "UPDATE nodes SET boot = $2, version = $3, seen = clock_timestamp() WHERE node = $1", row[0], boot, version
        )
        await free_lanes(connection, row[0])
        return NodeLife(row[0], row[1] is not None, row[2])


async def end_life(connection: Connection, node: int, boot: str, *, clean: bool) -> None:
    """Note that a node runs no longer, and give its name and its lanes back. Another life that has begun keeps both.

    Args:
        clean: the next life has nothing to catch up on.
    """
    ended = (
        "UPDATE nodes SET seen = NULL, boot = CASE WHEN $3 THEN NULL ELSE boot END WHERE node = $1 AND boot = $2 RETURNING node"
    )
    async with connection.transaction():
        if await connection.fetchval(ended, node, boot, clean) is not None:
            await free_lanes(connection, node)
    await release_name(connection)
