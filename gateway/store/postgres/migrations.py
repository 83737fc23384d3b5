"""Bringing the schema in PostgreSQL to that of this version, one node at a time. A later schema that needs newer code is refused.

Each script only adds and runs in a transaction of its own, so that nodes of the version before go on meanwhile. A released
script is never edited.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Final

from msgspec import Struct

from gateway.core.errors import StoreCorrupt
from gateway.store.postgres.connection import Connection, quoted

LOCK_SECONDS: Final = 5
"""Seconds that a script waits for the lock of a table at most. A wait stops all who come after it, so it has to be short."""
_LOCK_KEY: Final = 0x4C4D4757
"""'LMGW', the first half of the advisory lock that one migration of a database holds at a time; the other half is its schema."""
_INFO: Final = """
CREATE TABLE IF NOT EXISTS schema_info (
    one         integer PRIMARY KEY CHECK (one = 1),
    version     integer NOT NULL,   -- of the scripts that ran
    oldest_code integer NOT NULL    -- the least schema version that a gateway has to know to work with this schema
)"""


class SchemaVersion(Struct, frozen=True):
    """The version of a schema in a database."""

    version: int
    """The number of scripts that ran; 0 if there is none."""
    oldest_code: int
    """The least version that a gateway has to know; 0 if there is none."""


def scripts() -> tuple[str, ...]:
    """Return the schema scripts in their order; the n-th one brings a schema to version n."""
    folder = resources.files("gateway.store.postgres") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


async def read_version(connection: Connection) -> SchemaVersion:
    """Read the version of the schema that the connection looks in; zeros if nothing is there."""
    # current_schema() is null while the schema does not exist: to_regclass finds the table along the search path.
    if await connection.fetchval("SELECT to_regclass('schema_info')") is None:
        return SchemaVersion(0, 0)
    row = await connection.fetchrow("SELECT version, oldest_code FROM schema_info")
    return SchemaVersion(0, 0) if row is None else SchemaVersion(row[0], row[1])


def check_version(found: SchemaVersion, known: int) -> None:
    """Raise StoreCorrupt if a schema needs newer code than this.

    Args:
        known: the newest schema version that this version of the gateway knows.
    """
    if found.oldest_code > known:
        raise StoreCorrupt(
            f"the database has schema {found.version}, which needs a gateway that knows schema {found.oldest_code} or later,"
            f" and this version knows {known} at most: start the version that wrote it"
        )


async def migrate(
    connection: Connection,
    schema: str,
    *,
    of: tuple[str, ...] | None = None,
    told: Callable[..., object] = lambda event, **facts: None,
) -> SchemaVersion:
    """Apply the scripts that the schema does not have yet, and return its version then. Another node's migration is waited for.

    Args:
        of: the scripts of this version; None: those beside this module.
        told: called with an event and its facts before each step of an upgrade.
    Raises StoreCorrupt if the schema needs newer code. PostgreSQL's LockNotAvailableError passes: a table was in use for too
    long, nothing was changed, and the next start goes on from there.
    """
    known = scripts() if of is None else of
    await connection.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCK_KEY, schema)
    try:
        await _create(connection, schema)
        before = await read_version(connection)
        check_version(before, len(known))
        for number, script in enumerate(known[before.version :], start=before.version + 1):
            if before.version:
                told("store.upgrading", schema=number, of=len(known))
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                await connection.execute(script)
                await connection.execute("UPDATE schema_info SET version = $1", number)
        if 0 < before.version < len(known):
            told("store.upgraded", schema=len(known))
        return await read_version(connection)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", _LOCK_KEY, schema)


async def _create(connection: Connection, schema: str) -> None:
    """Make the schema and its table of versions, if they are missing.

    The user may lack the right to make a schema: it is asked for only if there is none.
    """
    async with connection.transaction():
        if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
            await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
        if await connection.fetchval("SELECT to_regclass('schema_info')") is None:
            await connection.execute(_INFO)
            await connection.execute("INSERT INTO schema_info VALUES (1, 0, 1)")
