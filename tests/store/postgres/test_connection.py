"""Sessions: their settings, how ids come to Python, and how they find back after the loss of a connection."""

from __future__ import annotations

import signal

import pytest

from gateway.core.errors import StoreError
from gateway.store.postgres.connection import FIRST_PAUSE, Connection, Server, Session
from gateway.store.postgres.postgres_errors import ConnectionLost
from tests.store.postgres.kit import connected, no_jitter, server_of
from tests.support.postgres_server import USER, PostgresPlace, postgres_server
from tests.support.waiting import until_answer


async def test_a_connection_has_the_settings_that_the_promises_need(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as admin:
        await admin.execute(f"ALTER ROLE {USER} IN DATABASE postgres SET synchronous_commit = off")
    async with connected(postgres_place) as connection:
        await connection.execute(f"ALTER ROLE {USER} IN DATABASE postgres RESET synchronous_commit")
        shown = {name: await connection.fetchval(f"SHOW {name}") for name in ("synchronous_commit", "application_name")}
        assert shown == {"synchronous_commit": "on", "application_name": "gateway test"}
        assert await connection.fetchval("SELECT current_schema()") == postgres_place.schema


async def test_ids_are_hex_in_python(postgres_place: PostgresPlace) -> None:
    hexadecimal = "0192f0c1" * 4
    async with connected(postgres_place) as connection:
        assert await connection.fetchval("SELECT $1::uuid", hexadecimal) == hexadecimal
        assert await connection.fetchval("SELECT $1::uuid[]", [hexadecimal]) == [hexadecimal]


async def test_a_session_comes_back_after_its_connection_was_ended(postgres_place: PostgresPlace) -> None:
    session = Session(server_of(postgres_place), "test", no_jitter)

    async def pid(connection: Connection) -> int:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))

    async def suicide(connection: Connection) -> None:
        await connection.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

    before = await session.run(pid)
    with pytest.raises(ConnectionLost, match="broke"):
        await session.run(suicide)
    assert await session.run(pid) != before
    await session.close()


async def test_a_session_refuses_at_once_between_two_attempts_to_connect() -> None:
    with postgres_server() as server:
        session = Session(Server(server.url.replace("@", ":pass-8Xc4-word@")), "test", no_jitter)

        async def one(connection: Connection) -> int:
            return int(await connection.fetchval("SELECT 1"))

        assert await session.run(one) == 1
        server.stop(signal.SIGKILL)

        async def refusal() -> str:
            try:
                return str(await session.run(one))
            except StoreError as error:
                return str(error)

        down = await until_answer(refusal, lambda text: "nothing listens there" in text)
        assert "pass-8Xc4-word" not in down
        server.start()
        assert await until_answer(refusal, lambda text: text == "1", seconds=60 + FIRST_PAUSE) == "1"
        await session.close()
