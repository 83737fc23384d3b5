"""The names of the nodes: a session holds the name of its gateway, renews it while it runs, and gives it back.

A name belongs to the process whose boot id stands in its row. Who finds another one there has lost it, and must end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from gateway.core.errors import StoreLocked
from gateway.core.nodes import NodeFacts, NodeSeen
from gateway.store.postgres.connection import Connection

_LOCK_KEY: Final = 0x4C4D474E
"""'LMGN', the first half of the advisory lock that the session of a node holds; the other half is its schema and name."""
_HOLD: Final = "SELECT pg_try_advisory_lock($1, hashtext(current_schema() || '/' || $2))"
_READ_ROW: Final = """
SELECT version, extract(epoch FROM clock_timestamp() - seen)::float8 AS age
FROM nodes WHERE name = $1 AND boot IS NOT NULL"""
_FREE_LANES: Final = "UPDATE lanes SET node = NULL, epoch = epoch + 1, expires = NULL WHERE node = $1"
_RENEW: Final = "UPDATE nodes SET seen = clock_timestamp() WHERE node = $1 AND boot = $2 RETURNING node"
_CONFIGURE: Final = "UPDATE nodes SET config_hash = $3, sinks = $4 WHERE node = $1 AND boot = $2"
_READ: Final = """
SELECT name, boot IS NOT NULL AND seen > clock_timestamp() - $1::interval AS alive, seen, version, config_hash, sinks,
       (SELECT coalesce(array_agg(sink ORDER BY sink), '{}') FROM lanes
        WHERE lanes.node = nodes.node AND expires > clock_timestamp()) AS lanes
FROM nodes ORDER BY name"""


async def hold_name(connection: Connection, name: str) -> None:
    """Hold the name of a node for as long as the session lasts.

    The session of a process that was killed ends with it. That of a machine that is gone ends when the server hears no answer
    to its keep-alives, see `connection`.
    Raises StoreLocked if the session of another process holds the name.
    """
    if await connection.fetchval(_HOLD, _LOCK_KEY, name):
        return
    row = await connection.fetchrow(_READ_ROW, name)
    since = "" if row is None or row["age"] is None else f": version {row['version']}, seen {max(row['age'], 0):.0f} s ago"
    raise StoreLocked(f'a node "{name}" is alive{since}. Stop it, or give this one another [node] name')


async def release_name(connection: Connection) -> None:
    """Give the name back. The session holds no other advisory lock then."""
    await connection.execute("SELECT pg_advisory_unlock_all()")  # `renew` takes it again and again, and it counts


async def free_lanes(connection: Connection, node: int) -> None:
    """Take the lanes from a process of this name that has ended; what it still does in them is refused from then on."""
    await connection.execute(_FREE_LANES, node)


async def renew(connection: Connection, node: int, facts: NodeFacts) -> None:
    """Say that a node is alive; after a new connection, its session holds the lock again.

    Raises StoreLocked if another process has taken its name.
    """
    await connection.fetchval(_HOLD, _LOCK_KEY, facts.name)
    if await connection.fetchval(_RENEW, node, facts.boot) is None:
        raise StoreLocked(f'another process has taken the name of the node "{facts.name}": this one ends')


async def configure(connection: Connection, node: int, facts: NodeFacts) -> None:
    """Write down the configuration that a node runs by after a reload."""
    await connection.execute(_CONFIGURE, node, facts.boot, facts.config_hash, list(facts.sinks))


async def read_nodes(connection: Connection, lease: float) -> list[NodeSeen]:
    """Return all nodes that ever ran on the database, by name.

    Args:
        lease: seconds after which a node that did not renew counts as dead.
    """
    return [
        NodeSeen(**{**row, "sinks": tuple(row["sinks"]), "lanes": tuple(row["lanes"])})
        for row in await connection.fetch(_READ, timedelta(seconds=lease))
    ]
