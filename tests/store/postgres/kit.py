"""Helpers of the tests that only PostgreSQL has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.store.postgres.connection import Connection, Server, connect
from gateway.store.postgres.migrations import migrate
from tests.support.postgres_server import PostgresPlace


def server_of(place: PostgresPlace) -> Server:
    return Server(place.url, place.schema)


def no_jitter() -> float:
    return 0.0


@asynccontextmanager
async def connected(place: PostgresPlace, *, with_schema: bool = True) -> AsyncIterator[Connection]:
    """Connect as the gateway does, to the newest schema unless the test makes it itself."""
    connection = await connect(server_of(place), "test")
    try:
        if with_schema:
            await migrate(connection, place.schema)
        yield connection
    finally:
        await connection.close()
