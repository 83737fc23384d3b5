"""The work of people on a database server, with gateways running or not: check the tables, and bring the schema up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import asyncpg
import msgspec

from gateway.core.database_url import parse_database_url
from gateway.core.documents import Backup, Health, SchemaUpgrade
from gateway.core.errors import BackupElsewhere, StoreCorrupt, StoreError, StoreUnfit
from gateway.core.records import Counts
from gateway.core.values import rfc3339
from gateway.store.miscounts import MOST, miscounts
from gateway.store.postgres import migrations
from gateway.store.postgres.connection import Connection, Server, connect, quoted
from gateway.store.postgres.postgres_errors import translated
from gateway.store.postgres.refusing import refuse_unfit

_T = TypeVar("_T")
_STATES: Final = Counts.__struct_fields__
_SIZE: Final = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = $1::text::regnamespace AND relkind = 'r'"""
_INVALID: Final = """
SELECT format('the index %s of %s is not valid: REINDEX it', indexrelid::regclass, indrelid::regclass) AS said
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = $1::text::regnamespace AND NOT (indisvalid AND indisready)
UNION ALL
SELECT format('the constraint %s of %s was never checked: VALIDATE it', conname, conrelid::regclass)
FROM pg_constraint WHERE connamespace = $1::text::regnamespace AND NOT convalidated
ORDER BY said"""
_REFERENCES: Final = """
SELECT child.relname AS child, child_key.attname AS child_key, parent.relname AS parent, parent_key.attname AS parent_key
FROM pg_constraint
JOIN pg_class AS child ON child.oid = conrelid
JOIN pg_class AS parent ON parent.oid = confrelid
JOIN pg_attribute AS child_key ON child_key.attrelid = conrelid AND child_key.attnum = conkey[1]
JOIN pg_attribute AS parent_key ON parent_key.attrelid = confrelid AND parent_key.attnum = confkey[1]
WHERE contype = 'f' AND connamespace = $1::text::regnamespace ORDER BY 1, 2"""
_INDEXES: Final = """
SELECT indexrelid::regclass::text FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE relnamespace = $1::text::regnamespace AND amname = 'btree' AND indisvalid ORDER BY 1"""
_AMCHECK: Final = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'amcheck'"""


async def examine(server: Server, *, replicated: bool) -> Health:
    """Check the tables of a gateway: validity, what refers to what, and the counters. It changes nothing.

    PostgreSQL itself guards its pages, with data checksums. Where the extension amcheck is installed and this user may use it,
    each index is compared with its table, too. All is read in one snapshot, which takes minutes if the database is big.

    Raises StoreUnfit or StoreFailed if the promises cannot be kept there, and StoreCorrupt if the schema needs newer code.
    """
    await refuse_unfit(server, replicated=replicated)
    place = f"{parse_database_url(server.url)}, schema {server.schema}"
    found = Health(file=place, size=0, newest_schema=len(migrations.scripts()), damage=[], miscounted=[])
    async with _connected(server) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        version = (await migrations.read_version(connection)).version
        if version == 0:
            raise StoreUnfit(f"{place}: there are no tables of a gateway; its first start makes them, or gateway db migrate")
        try:
            found.damage.extend([row["said"] for row in await connection.fetch(_INVALID, server.schema)][:MOST])
            found.damage.extend([said async for said in _lost(connection, server.schema)])
            found.miscounted.extend(await _miscounted(connection))
            return msgspec.structs.replace(
                found,
                schema=version,
                size=await connection.fetchval(_SIZE, server.schema),
                messages=await connection.fetchval("SELECT count(*) FROM messages"),
                newest=_instant(await connection.fetchval("SELECT received_ms FROM messages ORDER BY seq DESC LIMIT 1")),
                deliveries=await _kept(connection),
            )
        except asyncpg.PostgresError as error:
            if not isinstance(translated(error), StoreCorrupt):
                raise
            found.damage.append(str(error))  # a page with a wrong checksum: what was not read is not told
            return found


async def upgrade(server: Server, *, dry_run: bool, told: Callable[..., object] = lambda event, **facts: None) -> SchemaUpgrade:
    """Bring the schema to that of this version, one script after the other, while gateways run.

    Args:
        dry_run: change nothing, and say what would be done.
        told: called with an event and its facts before each step.
    Raises StoreCorrupt if the schema needs newer code, and StoreError if a table was in use for too long.
    """
    newest = len(migrations.scripts())
    async with _connected(server) as connection:
        before = await migrations.read_version(connection)
        migrations.check_version(before, newest)
        if not dry_run:
            await migrations.migrate(connection, server.schema, told=told)
    place = f"{parse_database_url(server.url)}, schema {server.schema}"
    return SchemaUpgrade(database=place, before=before.version, after=max(before.version, newest), done=not dry_run)


class LongTask(Generic[_T]):
    """Work of minutes in a task of its own; see `base.LongRead`."""

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self.ended: asyncio.Future[_T] = asyncio.ensure_future(work)

    async def end(self) -> None:
        self.ended.cancel()
        await asyncio.wait((self.ended,))


class Upkeep:
    """The verbs of `base.Copying` on a server."""

    def __init__(self, server: Server, *, replicated: bool) -> None:
        """
        Args:
            replicated: an acknowledged message has to be on a synchronous standby.
        """
        self._server = server
        self._replicated = replicated

    def back_up(self, file: Path, *, now: float, min_free: int) -> LongTask[Backup]:
        """Refuse with BackupElsewhere: only the tools of the server copy all of it."""
        return LongTask(_refuse_backup())

    def examine(self) -> LongTask[Health]:
        return LongTask(examine(self._server, replicated=self._replicated))


async def _refuse_backup() -> Backup:
    raise BackupElsewhere("the database is a PostgreSQL ([store] url): use pg_dump or pgBackRest, which back up all of it")


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[Connection]:
    connection = await connect(server, "upkeep")
    try:
        yield connection
    except asyncpg.LockNotAvailableError:
        said = f"a table was in use for more than {migrations.LOCK_SECONDS} s, so nothing was changed: try again"
        raise StoreError(said) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise translated(error) from error
    finally:
        connection.terminate()


async def _lost(connection: Connection, schema: str) -> AsyncIterator[str]:
    """Yield rows that refer to a row that is not there, and indexes that do not fit their tables."""
    for row in await connection.fetch(_REFERENCES, schema):
        child, key, parent, parent_key = (quoted(row[name]) for name in ("child", "child_key", "parent", "parent_key"))
        number = await connection.fetchval(
            f"SELECT count(*) FROM {child} AS child WHERE child.{key} IS NOT NULL"
            f" AND NOT EXISTS (SELECT 1 FROM {parent} AS parent WHERE parent.{parent_key} = child.{key})"
        )
        if number:
            yield f"rows of {row['child']} that belong to no row of {row['parent']}: {number}"
    if (extension := await connection.fetchval(_AMCHECK)) is None:
        return
    for (index,) in await connection.fetch(_INDEXES, schema):
        try:
            async with connection.transaction():
                await connection.execute(f"SELECT {extension}.bt_index_check($1::text::regclass, true)", index)
        except asyncpg.InsufficientPrivilegeError:
            return
        except (asyncpg.IndexCorruptedError, asyncpg.DataCorruptedError) as error:
            yield f"the index {index}: {error}"


async def _miscounted(connection: Connection) -> list[str]:
    sums = ", ".join(f"sum({state})::bigint AS {state}" for state in _STATES)
    kept = Counter[tuple[str, str]]()
    for row in await connection.fetch(f"SELECT sink, {sums} FROM counters GROUP BY sink"):
        kept.update({(row["sink"], state): row[state] for state in _STATES})
    counted = await connection.fetch("SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state")
    return miscounts(kept, Counter({(sink, state): number for sink, state, number in counted}))


async def _kept(connection: Connection) -> dict[str, int]:
    sums = ", ".join(f"coalesce(sum({state}), 0)::bigint AS {state}" for state in _STATES)
    row = await connection.fetchrow(f"SELECT {sums} FROM counters")
    return dict(row or {})


def _instant(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds / 1000)
