"""`gateway db backup` and `gateway db check`, on a running gateway and on a backup."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store.sqlite.migrations import scripts
from tests.cli.backups import ARCHIVED, admin, db, is_copying, names, post, started, unfinished
from tests.cli.running import gateway as command
from tests.store import writing
from tests.store.kit import fill, rows
from tests.support.configurations import route
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event

WRITTEN = sorted((Path(__file__).parents[1] / "store" / "written").glob("*.sql"))
REFUSED = [
    ("there", 2, "there already"),
    ("gateway.db", 2, "there already"),
    ("-", 2, "name one"),
    ("", 2, "name one"),
    ("nowhere/b.db", 74, "ReadWritePaths="),
    ("/sys/b.db", 74, "ReadWritePaths="),
]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that several tests share, because they need only its answers."""
    with Running(tmp_path_factory.mktemp("standing"), ARCHIVED) as running, no_traceback(running):
        yield running


@pytest.fixture
def busy(tmp_path: Path, large: Path) -> Iterator[Running]:
    """A gateway whose database is large."""
    shutil.copy(large, tmp_path)
    with Running(tmp_path, ARCHIVED) as running, no_traceback(running, alive=False):
        yield running


async def begun(running: Running, file: Path, *, seconds: float = 30.0) -> asyncio.Task[Answer]:
    """Start a backup, and return its task once the gateway is copying."""
    body = json.dumps({"file": str(file)}).encode()
    asked = asyncio.create_task(
        exchange(running.addresses["admin"], request_bytes(body, path="/api/backup"), seconds=seconds), name="backup"
    )
    await is_copying(file)
    return asked


class TestBackup:
    async def test_it_describes_the_backup(self, running: Running, tmp_path: Path) -> None:
        await post(running, 5)
        file = tmp_path / "backup.db"
        told = await asyncio.to_thread(db, running, "backup", file, "--json")
        assert told.status == 0 and told.err == ""
        document = told.document()
        assert document.keys() == {"file", "size", "schema", "messages", "newest", "seconds"}
        assert (document["file"], document["messages"], document["size"]) == (str(file), 5, file.stat().st_size)
        (newest,) = rows(file, "SELECT max(received_ms) FROM messages")[0]
        assert document["newest"].endswith(f".{newest % 1000:03d}Z")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert running.stderr().count("store.backed_up") == 1
        (line,) = running.audit("database.backed_up")
        assert line["detail"] == f"{file}: 5 messages" and line["actor"] == "admin" and line["claimed"]
        told = await asyncio.to_thread(db, running, "backup", "for a person.db")
        assert told.status == 0 and told.err == ""
        assert told.out.startswith(f"{tmp_path}/for a person.db: 5 messages, the newest of 20") and told.out.count("\n") == 1

    def test_a_relative_file_is_relative_to_the_callers_directory(self, standing: Running, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "deep").mkdir(parents=True)
        assert db(standing, "backup", "../backup.db", cwd=elsewhere / "deep").status == 0
        assert names(elsewhere) == ["backup.db", "deep"]
        assert db(standing, "backup", ".", cwd=elsewhere).status == 0
        assert [name for name in names(elsewhere) if name.startswith("gateway-20") and name.endswith("Z.db")]

    def test_a_refused_file_is_explained_with_what_to_do(self, standing: Running) -> None:
        (standing.folder / "there").write_bytes(b"precious")
        before = names(standing.folder)
        for file, status, said in REFUSED:
            told = db(standing, "backup", file)
            assert (told.status, told.out) == (status, "") and said in told.err and told.err.count("\n") == 1, told
        assert names(standing.folder) == before and (standing.folder / "there").read_bytes() == b"precious"

    def test_a_backup_leaves_the_room_that_messages_need(self, tmp_path: Path) -> None:
        with Running(tmp_path, ARCHIVED) as running:
            running.write_config('[store]\nmin_free = "900000GiB"\n' + ARCHIVED)
            assert command("reload", "--admin", admin(running), cwd=tmp_path).status == 0
            told = db(running, "backup", "backup.db")
        assert told.status == 74 and "store.min_free" in told.err and "make room" in told.err
        assert not [name for name in names(tmp_path) if "backup" in name]

    async def test_only_one_backup_runs_at_a_time(self, busy: Running, tmp_path: Path) -> None:
        first = await begun(busy, tmp_path / "first.db")
        told = await exchange(busy.addresses["admin"], request_bytes(b'{"file": "/x"}', path="/api/backup"))
        assert told.outcome == (409, "busy") and "first.db is under way" in told.json()["detail"]
        assert (await first).status == 200
        assert (await asyncio.to_thread(db, busy, "check")).status == 0

    async def test_ingest_and_reads_go_on_during_a_backup(self, busy: Running, tmp_path: Path) -> None:
        started = asyncio.get_running_loop().time()
        copying = await begun(busy, tmp_path / "backup.db")
        answers = []
        while not copying.done():
            answers.append(await busy.post(event()))
            assert (await busy.admin("/api/messages?limit=1")).status == 200
        assert len(answers) > 5 and {answer.status for answer in answers} == {200}
        took = asyncio.get_running_loop().time() - started
        assert max(answer.seconds for answer in answers) < took / 2, "none waited for the backup"
        await until(lambda: len(busy.audit("delivery.delivered")) == len(answers))

    async def test_a_stop_does_not_wait_for_a_backup_and_leaves_no_partial_file(self, busy: Running, tmp_path: Path) -> None:
        copying = await begun(busy, tmp_path / "backup.db")
        assert await busy.stop() == 0
        answer = await copying  # a backup that the stop had waited for would have been made
        assert answer.outcome == (409, "backup_failed") and "the gateway is stopping" in answer.json()["detail"]
        assert not [name for name in names(tmp_path) if "backup" in name]

    async def test_ctrl_c_ends_a_backup_and_leaves_no_partial_file(self, busy: Running, tmp_path: Path) -> None:
        file = tmp_path / "backup.db"
        person = started("db", "backup", file, "--admin", admin(busy), cwd=tmp_path)
        await is_copying(file)
        person.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(person.communicate, timeout=60)
        assert (person.returncode, out, err) == (130, b"", b"")
        await until(lambda: not [name for name in names(tmp_path) if "backup" in name or "partial" in name])
        await until(lambda: "who asked for it has gone" in busy.stderr())
        assert (await asyncio.to_thread(db, busy, "backup", file)).status == 0

    async def test_the_next_start_removes_the_partial_file_of_a_killed_gateway(self, busy: Running, tmp_path: Path) -> None:
        file = tmp_path / "backup.db"
        copying = await begun(busy, file)
        await asyncio.to_thread(busy.kill)
        with pytest.raises(ConnectionError):
            await copying
        assert unfinished(tmp_path) and "backup.db" not in names(tmp_path)
        await asyncio.to_thread(busy.start)
        assert (await asyncio.to_thread(db, busy, "backup", file)).status == 0
        assert [name for name in names(tmp_path) if "backup" in name or "partial" in name] == ["backup.db"]

    async def test_the_api_takes_only_absolute_paths(self, standing: Running) -> None:
        for body in (b"{}", b'{"file": "backup.db"}', b'{"file": "/a\\u0000b"}', b'{"file": 1}', b"[]"):
            answer = await exchange(standing.addresses["admin"], request_bytes(body, path="/api/backup"))
            assert answer.outcome == (400, "bad_request"), body


class TestCheck:
    async def test_a_sound_database_is_described(self, running: Running) -> None:
        await post(running, 4)
        await until(lambda: len(running.audit("delivery.delivered")) == 4)
        told = await asyncio.to_thread(db, running, "check")
        assert told.status == 0 and told.err == ""
        assert told.out.splitlines()[0] == f"{running.database}: sound"
        assert f"schema {len(scripts())}, " in told.out and "4 messages, the newest of 20" in told.out
        assert "deliveries: 0 queued, 4 delivered, 0 dead, 0 discarded" in told.out
        document = (await asyncio.to_thread(db, running, "check", "--json")).document()
        assert document["sound"] is True and (document["damage"], document["miscounted"]) == ([], [])
        assert (document["schema"], document["messages"]) == (len(scripts()), 4)

    async def test_a_backup_is_checked_in_place_and_no_file_is_made_beside_it(self, running: Running, tmp_path: Path) -> None:
        await post(running, 4)
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        assert (await asyncio.to_thread(db, running, "backup", shelf / "b.db")).status == 0
        assert await running.stop() == 0
        told = await asyncio.to_thread(command, "db", "check", "b.db", "--json", cwd=shelf)
        assert told.status == 0 and (told.document()["messages"], told.document()["file"]) == (4, str(shelf / "b.db"))
        assert names(shelf) == ["b.db"]

    @pytest.mark.parametrize("what", ["an index", "a table", "a row without its message", "garbage", "half of it"])
    def test_a_damaged_database_is_65_with_the_way_out(self, tmp_path: Path, what: str) -> None:
        file = tmp_path / "b.db"
        asyncio.run(fill(file, 2000, body=b"x" * 1000))
        damage(file, what)
        before = file.read_bytes()
        told = command("db", "check", file, cwd=tmp_path)
        assert told.status == 65 and "Traceback" not in told.err
        if what == "garbage":
            assert "not an SQLite database" in told.err
        else:
            assert "put a backup in its place" in told.out
        assert len(told.out.splitlines()) <= 30 and file.read_bytes() == before

    async def test_a_running_gateway_reports_damage_and_serves_on(self, tmp_path: Path) -> None:
        await fill(tmp_path / "gateway.db", 2000, body=b"x" * 1000, sinks=("gone",))
        damage(tmp_path / "gateway.db", "an index")
        with Running(tmp_path, ARCHIVED) as running:
            told = await asyncio.to_thread(db, running, "check", "--json")
            assert told.status == 65 and told.document()["sound"] is False
            assert 0 < len(told.document()["damage"]) <= 20
            assert "store.unsound" in running.stderr()
            assert (await running.post(event())).status == 200

    def test_wrong_counters_alone_are_not_damage(self, tmp_path: Path) -> None:
        file = tmp_path / "b.db"
        asyncio.run(fill(file, 10))
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE counters SET queued = 11 WHERE sink = 'erp'")
        told = command("db", "check", file, cwd=tmp_path)
        assert told.status == 1
        assert "queued deliveries to erp: the counter says 11, there are 10" in told.out and "report this" in told.out

    @pytest.mark.parametrize("content", [None, b"{}", b""])
    def test_a_file_that_is_not_a_database_is_named(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "b.db").write_bytes(content)
        told = command("db", "check", "b.db", cwd=tmp_path)
        assert told.status == (2 if content is None else 65) and "Traceback" not in told.err and "b.db" in told.err

    def test_an_unreadable_file_is_named(self, tmp_path: Path) -> None:
        told = command("db", "check", f"{'n' * 300}.db", cwd=tmp_path)
        assert told.status == 74 and "nnn.db: File name too long" in told.err

    def test_a_newer_and_a_foreign_database_are_named(self, tmp_path: Path) -> None:
        file = tmp_path / "b.db"
        asyncio.run(fill(file, 1))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 99")
        told = command("db", "check", file, cwd=tmp_path)
        assert told.status == 65 and "schema 99" in told.err
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA application_id = 1")
        assert "another program" in command("db", "check", file, cwd=tmp_path).err


def damage(file: Path, what: str) -> None:
    """Damage a database. A start notices only the last two kinds."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        if what == "a row without its message":
            connection.execute("DELETE FROM messages WHERE seq = 1000")  # SQLite checks references only if it is told to
        if what == "an index":
            connection.execute("PRAGMA writable_schema = ON")
            sql = "CREATE INDEX messages_by_status ON messages (status, seq) WHERE status <> 'quarantined'"
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'messages_by_status'", (sql,))
    content = file.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    if what == "a table":
        file.write_bytes(content[:middle] + b"\xa5" * 4096 + content[middle + 4096 :])
    if what == "half of it":
        file.write_bytes(content[:middle])
    if what == "garbage":
        file.write_bytes(b"\xa5" * len(content))


@pytest.mark.parametrize("script", WRITTEN, ids=lambda script: script.stem)
async def test_a_gateway_goes_on_with_the_database_of_every_earlier_version(tmp_path: Path, script: Path) -> None:
    sinks = ("erp", "slack", "ordered", "ends", "added")
    tables = [f'[sinks.{name}]\ntype = "jsonl"\npath = "{name}.jsonl"\ngive_up_after = "3650d"\n' for name in sinks]
    toml = '[store]\nretention = "3650d"\n' + "".join(tables) + route(*sinks)
    writing.load(script, tmp_path / "gateway.db")
    with Running(tmp_path, toml) as running, no_traceback(running):
        left: dict[str, Any] = {"slack": 6, "gone": 1}  # paused, and no such sink
        query = "SELECT sink, queued FROM counters WHERE queued > 0"
        await until(lambda: dict(running.rows(query)) == left)
        assert len((tmp_path / "erp.jsonl").read_bytes().splitlines()) == 6
        assert (await asyncio.to_thread(db, running, "check")).status == 0
