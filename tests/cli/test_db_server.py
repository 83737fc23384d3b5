"""`gateway db` on PostgreSQL: it asks the server itself, and says what belongs to the tools of the server."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.postgres_server import PostgresPlace, PostgresServer

CONFIG = """
[store]
url = {{ file = "url" }}
schema = "{schema}"
[sources.legitmark]
secrets = [{{ env = "LEGITMARK_SECRET" }}]
"""
PASSWORD = "pass-8Xc4-word"


@pytest.fixture
def folder(tmp_path: Path, postgres_place: PostgresPlace) -> Path:
    """A folder with the configuration of a gateway whose tables go into a schema of the test's own."""
    (tmp_path / "gateway.toml").write_text(CONFIG.format(schema=postgres_place.schema))
    (tmp_path / "url").write_text(postgres_place.url.replace("@", f":{PASSWORD}@"))
    return tmp_path


def db(folder: Path, *arguments: str) -> Result:
    result = command("db", *arguments, "--config", folder / "gateway.toml", cwd=folder)
    assert PASSWORD not in result.out + result.err
    return result


def place_of(place: PostgresPlace) -> str:
    return f"{place.url}, schema {place.schema}"


async def execute(place: PostgresPlace, *statements: str) -> None:
    """Run statements as somebody at the database would."""
    connection = await asyncpg.connect(place.url, server_settings={"search_path": place.schema})
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


MESSAGE = """
INSERT INTO nodes (name) VALUES ('gw1');
INSERT INTO messages (id, node, source, sender_id, received_ms, event_ms, status, body)
SELECT gen_random_uuid(), node, 'legitmark', 'msg_1', 1772402761250, 1772402761250, 'accepted', '{}' FROM nodes;
INSERT INTO deliveries (message, sink, state, since_ms, ended_ms) SELECT seq, 'erp', 'delivered', 1, 2 FROM messages;
INSERT INTO counters (sink, node, delivered) SELECT 'erp', node, 1 FROM nodes"""


def test_a_migration_says_first_what_it_would_do_and_then_does_it_once(folder: Path, postgres_place: PostgresPlace) -> None:
    place = place_of(postgres_place)
    assert db(folder, "migrate", "--dry-run").out == f"{place}: would be brought to schema 1, from none\n"
    document = db(folder, "migrate", "--json").document()
    assert document == {"database": place, "before": 0, "after": 1, "done": True}
    again = db(folder, "migrate")
    assert (again.status, again.out) == (0, f"{place}: is at schema 1 already\n")


async def test_a_migration_of_a_schema_that_needs_newer_code_is_refused(folder: Path, postgres_place: PostgresPlace) -> None:
    assert db(folder, "migrate").status == 0
    await execute(postgres_place, "UPDATE schema_info SET version = 9, oldest_code = 9")
    for arguments in (("migrate",), ("migrate", "--dry-run"), ("check",)):
        result = db(folder, *arguments)
        assert (result.status, result.out) == (65, "")
        assert "needs a gateway that knows schema 9 or later" in result.err


def test_a_backup_is_left_to_the_tools_of_the_server(folder: Path) -> None:
    result = db(folder, "backup", str(folder / "copy.db"))
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "gateway: error: the database is a PostgreSQL ([store] url): use pg_dump or pgBackRest, which back up all of it\n"
    )
    assert not (folder / "copy.db").exists()


async def test_a_check_counts_what_is_there_and_needs_no_gateway(folder: Path, postgres_place: PostgresPlace) -> None:
    db(folder, "migrate")
    await execute(postgres_place, MESSAGE)
    document = db(folder, "check", "--json").document()
    assert document.pop("size") > 0
    assert document == {
        "sound": True,
        "file": place_of(postgres_place),
        "schema": 1,
        "newest_schema": 1,
        "messages": 1,
        "newest": "2026-03-01T22:06:01.250Z",
        "deliveries": {"queued": 0, "delivered": 1, "dead": 0, "discarded": 0},
        "damage": [],
        "miscounted": [],
    }
    result = db(folder, "check")
    assert result.status == 0
    assert result.out.startswith(f"{place_of(postgres_place)}: sound\n  schema 1, ")


async def test_a_check_finds_wrong_counters(folder: Path, postgres_place: PostgresPlace) -> None:
    db(folder, "migrate")
    await execute(postgres_place, MESSAGE, "UPDATE counters SET delivered = 3")
    result = db(folder, "check")
    assert result.status == 1
    assert "  delivered deliveries to erp: the counter says 3, there are 1\n" in result.out


async def test_a_check_finds_rows_that_belong_to_nothing_and_an_index_that_is_not_valid(
    folder: Path, postgres_place: PostgresPlace
) -> None:
    db(folder, "migrate")
    await execute(
        postgres_place,
        MESSAGE,
        "SET session_replication_role = replica; DELETE FROM messages",  # no foreign key is looked at, as after a bad restore
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'deliveries_due'::regclass",
    )
    result = db(folder, "check")
    assert result.status == 65
    assert "  rows of deliveries that belong to no row of messages: 1\n" in result.out
    assert "  the index deliveries_due of deliveries is not valid: REINDEX it\n" in result.out
    assert result.out.endswith("stop the gateways, and restore a backup of the server, or mend what is named\n")


async def test_a_check_compares_each_index_with_its_table_where_amcheck_is_installed(
    folder: Path, postgres_place: PostgresPlace
) -> None:
    db(folder, "migrate")
    await execute(postgres_place, MESSAGE)
    await execute(postgres_place, "CREATE SCHEMA IF NOT EXISTS tools", "CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA tools")
    try:
        assert db(folder, "check").status == 0
        # The index forgets its rows: with the definition of another order, what it holds is in a wrong one.
        await execute(
            postgres_place,
            "INSERT INTO signing_keys (label) SELECT 'key ' || number FROM generate_series(1, 100) AS number",
            "UPDATE pg_index SET indoption = '3' WHERE indexrelid = 'signing_keys_label_key'::regclass",
        )
        result = db(folder, "check")
        assert result.status == 65
        assert "signing_keys_label_key" in result.out
    finally:
        await execute(postgres_place, "DROP EXTENSION amcheck")


def test_a_check_of_an_empty_schema_says_how_the_tables_are_made(folder: Path) -> None:
    result = db(folder, "check")
    assert result.status == 78
    assert "there are no tables of a gateway; its first start makes them, or gateway db migrate" in result.err


def test_an_unreachable_server_and_a_missing_secret_each_have_their_exit_code(folder: Path, postgres: PostgresServer) -> None:
    (folder / "url").write_text(f"postgresql://gateway:{PASSWORD}@127.0.0.1:1/postgres")
    for arguments in (("check",), ("migrate",)):
        result = db(folder, *arguments)
        assert result.status == 74
        assert "postgresql://gateway@127.0.0.1:1/postgres: nothing listens there" in result.err
    (folder / "url").unlink()
    result = db(folder, "check")
    assert result.status == 78
    assert "[store] url" in result.err


def test_a_probe_of_the_configuration_connects_as_a_start_does(folder: Path) -> None:
    with (folder / "gateway.toml").open("a") as file:
        file.write('[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n[[routes]]\nsinks = ["archive"]\n')
    line = ("check", "--probe", "--config", folder / "gateway.toml")
    result = command(*line, cwd=folder)
    assert result.status == 0
    assert "[store] url: PostgreSQL 1" in result.out
    (folder / "url").write_text(f"postgresql://gateway:{PASSWORD}@127.0.0.1:1/postgres")
    result = command(*line, "--json", cwd=folder)
    assert (result.status, result.document()["store"]["ok"]) == (1, False)
    assert result.document()["store"]["detail"].startswith("postgresql://gateway@127.0.0.1:1/postgres: nothing listens there")
    assert PASSWORD not in result.out + result.err


def test_a_file_of_sqlite_needs_no_migration(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n')
    result = db(tmp_path, "migrate")
    assert result.status == 2
    assert "the database is a file of SQLite" in result.err
