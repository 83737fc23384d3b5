"""The reasons for which a start refuses a PostgreSQL, each with its exit code: on real servers, and behind a real pooler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest
import trustme
from msgspec import structs

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed, StoreUnfit
from gateway.store.postgres.connection import Server, connect
from gateway.store.postgres.refusing import ServerFacts, refuse_unfit, unfit
from tests.store.postgres.kit import connected, server_of
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres_server import PostgresPlace, PostgresServer, postgres_server

GOOD = ServerFacts(version=150004, version_text="15.4", encoding="UTF8", fsync=True, full_page_writes=True, standbys="")
PASSWORD = "pass-8Xc4-word"


async def refused(url: str, *, schema: str = "gateway", replicated: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await refuse_unfit(Server(url, schema), replicated=replicated)
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("changed", "replicated", "kind", "exit_code", "said"),
    [
        (
            {"version": 130012, "version_text": "13.12"},
            False,
            StoreUnfit,
            78,
            "the server is PostgreSQL 13.12: the gateway needs 14",
        ),
        ({"encoding": "SQL_ASCII"}, False, StoreUnfit, 78, "the database has the encoding SQL_ASCII"),
        ({}, True, StoreUnfit, 78, '[store] durability is "replicated", but the server waits for no standby'),
        ({"fsync": False}, False, StoreFailed, 74, "the server runs with fsync = off"),
        ({"full_page_writes": False}, False, StoreFailed, 74, "the server runs with full_page_writes = off"),
    ],
)
def test_each_fact_that_breaks_a_promise_is_refused(
    changed: Mapping[str, object], replicated: bool, kind: type[StoreError], exit_code: int, said: str
) -> None:
    reason = unfit(structs.replace(GOOD, **changed), replicated=replicated)
    assert type(reason) is kind
    assert reason.exit_code == exit_code
    assert str(reason).startswith(said)


def test_a_server_that_keeps_the_promises_is_not_refused() -> None:
    assert unfit(GOOD, replicated=False) is None
    assert unfit(structs.replace(GOOD, version=140000, standbys="ANY 1 (b, c)"), replicated=True) is None


async def test_a_usual_server_is_taken_and_says_what_it_is(postgres_place: PostgresPlace) -> None:
    facts = await refuse_unfit(server_of(postgres_place), replicated=False)
    assert facts.version >= 140000
    assert (facts.encoding, facts.fsync, facts.full_page_writes, facts.standbys) == ("UTF8", True, True, "")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_loses_data_in_a_power_cut_is_refused(setting: str) -> None:
    with postgres_server({setting: "off"}) as server:
        error = await refused(server.url)
        assert (type(error), error.exit_code) == (StoreFailed, 74)
        assert f"{setting} = off" in str(error)


async def test_replicated_needs_a_server_that_waits_for_a_standby(postgres: PostgresServer) -> None:
    assert "waits for no standby" in str(await refused(postgres.url, replicated=True))
    with postgres_server({"synchronous_standby_names": "*", "synchronous_commit": "local"}) as server:
        assert (await refuse_unfit(Server(server.url), replicated=True)).standbys == "*"


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        error = await refused(postgres.url.replace("/postgres", "/latin"))
        assert (error.exit_code, "the encoding LATIN1" in str(error)) == (78, True)
    finally:
        await connection.execute("DROP DATABASE latin WITH (FORCE)")
        await connection.close()


@pytest.mark.parametrize("backends", [1, 20])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_lends_out_backends_is_refused(mode: str, backends: int, postgres: PostgresServer) -> None:
    with pgbouncer(postgres.url, mode, backends) as url:  # type: ignore[arg-type]
        error = await refused(url)
    assert error.exit_code == 78
    assert str(error).endswith("a pooler in transaction mode answers: connect to PostgreSQL itself, or to a session pool")


async def test_a_pooler_that_keeps_sessions_is_taken(postgres: PostgresServer) -> None:
    with pgbouncer(postgres.url, "session") as url:
        assert (await refuse_unfit(Server(url), replicated=False)).encoding == "UTF8"


async def test_behind_a_session_pool_a_connection_has_its_settings(postgres: PostgresServer) -> None:
    with pgbouncer(postgres.url, "session") as url:
        connection = await connect(Server(url, "events"), "writer")
        try:
            assert await connection.fetchval("SHOW search_path") == '"events"'
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"
        finally:
            await connection.close()


async def test_a_schema_that_needs_newer_code_is_refused(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as connection:
        await connection.execute("UPDATE schema_info SET version = 9, oldest_code = 9")
    error = await refused(postgres_place.url, schema=postgres_place.schema)
    assert (type(error), error.exit_code) == (StoreCorrupt, 65)
    assert "start the version that wrote it" in str(error)


async def test_a_wrong_password_is_refused_and_no_password_is_named(postgres: PostgresServer) -> None:
    with postgres_server() as server:
        admin = await asyncpg.connect(server.url)
        await admin.execute("CREATE ROLE app LOGIN PASSWORD 'another-one'")
        await admin.close()
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all gateway 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n")
        server.stop()
        server.start()
        at = f"127.0.0.1:{server.port}"
        error = await refused(f"postgresql://app:{PASSWORD}@{at}/postgres")
        assert error.exit_code == 78
        assert str(error) == (
            f"postgresql://app@{at}/postgres: the server refuses the user or its password: correct the secret of [store] url"
        )
        stranger = await refused(f"postgresql://stranger:{PASSWORD}@{at}/postgres")
        assert stranger.exit_code == 78
        assert "the server does not let this user in (no pg_hba.conf entry" in str(stranger)


@pytest.mark.parametrize(
    ("url", "exit_code", "said"),
    [
        ("postgresql://gateway@{at}/nowhere", 78, "postgresql://gateway@{at}/nowhere: the server has no such database"),
        ("postgresql://gateway@nowhere.invalid/x", 74, "postgresql://gateway@nowhere.invalid/x: the name of the host is unknown"),
        ("postgresql://gateway@127.0.0.1:1/x", 74, "postgresql://gateway@127.0.0.1:1/x: nothing listens there: start PostgreSQL"),
        (
            "postgresql://gateway@{at}/postgres?sslmode=require",
            78,
            "postgresql://gateway@{at}/postgres: the server speaks no TLS",
        ),
        (
            "postgresql://gateway@{at}/postgres?sslmode=verify-full&sslrootcert=/nowhere.pem",
            78,
            "postgresql://gateway@{at}/postgres: a file of sslrootcert, sslcert or sslkey cannot be read",
        ),
        ("mysql://gateway@{at}/postgres", 78, "[store] url is not a URL of PostgreSQL"),
    ],
)
async def test_what_the_url_says_wrongly_is_named_with_what_to_do(
    url: str, exit_code: int, said: str, postgres: PostgresServer
) -> None:
    at = f"127.0.0.1:{postgres.port}"
    error = await refused(url.format(at=at))
    assert error.exit_code == exit_code
    assert str(error).startswith(said.format(at=at))


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ours.pem")
    theirs.cert_pem.write_to_path(tmp_path / "theirs.pem")
    with postgres_server() as server:
        certificate = theirs.issue_cert("127.0.0.1")
        for name, pem in (("server.crt", certificate.cert_chain_pems[0]), ("server.key", certificate.private_key_pem)):
            server.give(name, pem.bytes())
        server.stop()
        server.start(settings={"ssl": "on"})
        url = f"{server.url}?sslmode=verify-full&sslrootcert={tmp_path}"
        error = await refused(f"{url}/ours.pem")
        assert error.exit_code == 78
        assert "the server's certificate cannot be trusted" in str(error)
        assert (await refuse_unfit(Server(f"{url}/theirs.pem"), replicated=False)).encoding == "UTF8"


async def test_a_server_that_only_reads_is_waited_for_and_not_fatal(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE DATABASE reading")
    await connection.execute("ALTER DATABASE reading SET default_transaction_read_only = on")
    try:
        error = await refused(postgres.url.replace("/postgres", "/reading"))
        assert type(error) is StoreError
        assert "no server there takes writes: each is a standby, or only reads" in str(error)
    finally:
        await connection.execute("DROP DATABASE reading WITH (FORCE)")
        await connection.close()
