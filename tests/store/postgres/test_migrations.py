"""The way to the schema: once, by one node at a time, and not by a version that is too old for it."""

from __future__ import annotations

import asyncio
import re
from importlib import resources

import asyncpg
import pytest

from gateway.core.errors import StoreCorrupt
from gateway.store.postgres.migrations import SchemaVersion, migrate, read_version, scripts
from tests.store.postgres.kit import connected
from tests.support.postgres_server import PostgresPlace

SQLITE_ONLY = {"ledger"}
"""Tables that only the SQLite engine has: it writes the rows of service requests later than their messages."""
POSTGRES_ONLY = {"nodes", "lanes", "schema_info"}


async def tables(connection: asyncpg.Connection[asyncpg.Record], schema: str) -> set[str]:
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    return {row[0] for row in found}


async def test_a_new_schema_has_the_tables_of_the_other_engine(postgres_place: PostgresPlace) -> None:
    folder = resources.files("gateway.store.sqlite") / "schema"
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir()]
    made = {name for text in texts for name in re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)}
    made -= {name for text in texts for name in re.findall(r"^ALTER TABLE (\w+) RENAME", text, re.MULTILINE)}
    async with connected(postgres_place) as connection:
        assert await tables(connection, postgres_place.schema) == (made - SQLITE_ONLY) | POSTGRES_ONLY
        assert await read_version(connection) == SchemaVersion(len(scripts()), 1)


async def test_nodes_that_start_at_once_apply_each_script_once(postgres_place: PostgresPlace) -> None:
    counting = ("CREATE TABLE ran (number integer)", "INSERT INTO ran VALUES (2)", "INSERT INTO ran VALUES (3)")
    async with (
        connected(postgres_place, with_schema=False) as one,
        connected(postgres_place, with_schema=False) as two,
        connected(postgres_place, with_schema=False) as three,
    ):
        found = await asyncio.gather(*(migrate(node, postgres_place.schema, of=counting) for node in (one, two, three)))
        assert found == [SchemaVersion(3, 1)] * 3
        assert [row[0] for row in await one.fetch("SELECT number FROM ran ORDER BY number")] == [2, 3]


async def test_a_script_that_fails_leaves_the_schema_before_it(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place, with_schema=False) as connection:
        broken = ("CREATE TABLE first (a integer)", "CREATE TABLE second (a integer); SELECT 1 / 0")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, postgres_place.schema, of=broken)
        assert await read_version(connection) == SchemaVersion(1, 1)
        assert await tables(connection, postgres_place.schema) == {"schema_info", "first"}
        told: list[tuple[str, int]] = []
        mended = (broken[0], "CREATE TABLE second (a integer)")
        await migrate(
            connection, postgres_place.schema, of=mended, told=lambda event, **facts: told.append((event, facts["schema"]))
        )
        assert told == [("store.upgrading", 2), ("store.upgraded", 2)]


async def test_a_script_does_not_wait_long_for_a_table_in_use(
    postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.postgres.migrations.LOCK_SECONDS", 1)
    async with connected(postgres_place, with_schema=False) as connection, connected(postgres_place) as user:
        async with user.transaction():
            await user.execute("LOCK TABLE messages")
            more = (*scripts(), "ALTER TABLE messages ADD COLUMN more integer")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await migrate(connection, postgres_place.schema, of=more)
        await migrate(connection, postgres_place.schema, of=more)  # nothing was left locked


async def test_a_version_that_is_too_old_for_the_schema_is_refused(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as connection:
        newer = len(scripts()) + 1
        await connection.execute("UPDATE schema_info SET version = $1", newer)
        assert (await migrate(connection, postgres_place.schema)).version == newer  # the later script only added
        await connection.execute("UPDATE schema_info SET oldest_code = $1", newer)
        with pytest.raises(StoreCorrupt, match=f"has schema {newer}, which needs a gateway that knows schema {newer} or later"):
            await migrate(connection, postgres_place.schema)
