"""Fixtures of the store's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.kit import Database, store_threads
from tests.support.postgres_server import PostgresServer, new_place


@pytest.fixture
async def threads_ended() -> AsyncIterator[None]:
    """Waits for the threads of connections that failed to open, because a thread that outlives the loop ends in a traceback."""
    yield
    for thread in store_threads():
        await asyncio.to_thread(thread.join, 10)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A place for a store of each engine, one after the other: what a verb promises holds over both."""
    if request.param == "sqlite":
        return tmp_path / "gateway.db"
    server = request.getfixturevalue("postgres_without_fsync")
    assert isinstance(server, PostgresServer)
    return new_place(server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests over PostgreSQL that are marked as about SQLite alone."""
    items[:] = [item for item in items if not (item.get_closest_marker("sqlite_only") and "[postgres" in item.name)]
