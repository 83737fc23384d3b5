"""Two stores with the same rows, one of each engine, that are asked the same questions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.store.postgres.connection import QUESTIONS, Connection, Session
from gateway.store.postgres.reading import PostgresReading
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import RETENTION
from tests.store.postgres.copies import copy
from tests.store.postgres.costs import Costs
from tests.store.postgres.kit import connected, no_jitter, server_of
from tests.support.postgres_server import PostgresPlace

_MOST_PAGES = 2000


class Twins(Struct):
    """The stores, and what the questions cost the one of PostgreSQL."""

    sqlite: SqliteStore
    postgres: PostgresReading
    costs: Costs

    async def both(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask both stores, and return their answer. Fails unless it is the same."""
        expected = await ask(self.sqlite)
        found = await self.costs.page(lambda: ask(self.postgres))
        # The JSON first, because its difference is readable.
        assert msgspec.to_builtins(found) == msgspec.to_builtins(expected)
        assert found == expected
        return found

    async def pages(self, ask: Callable[[Any, Any], Awaitable[tuple[list[Any], Any]]], after: Any) -> list[Any]:
        """Ask both stores for all pages, one after the other, and return the rows. Fails unless each page is the same."""
        found: list[Any] = []
        for _ in range(_MOST_PAGES):
            rows, after = await self.both(lambda store: ask(store, after))  # noqa: B023 - it is called at once
            found += rows
            if after is None:
                return found
        raise AssertionError("the pages have no end")


async def copied(database: Path, place: PostgresPlace) -> None:
    """Copy a database of SQLite into a new schema."""
    async with connected(place) as connection:
        await copy(database, connection)


@asynccontextmanager
async def twins(database: Path, place: PostgresPlace) -> AsyncIterator[Twins]:
    """Open both stores; the database was copied before."""
    store = await SqliteStore.open(database, RETENTION)
    session = Session(server_of(place), "questions", no_jitter, QUESTIONS)

    async def watched(connection: Connection) -> Costs:
        return await Costs.of(connection)

    try:
        yield Twins(store, PostgresReading(session), await session.run(watched))
    finally:
        await session.close()
        await store.close()
