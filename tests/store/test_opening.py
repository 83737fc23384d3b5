"""Opening a database: the pragmas and their answers, the files that SQLite makes, and the reader that can only read."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.core.errors import StoreError, StoreFailed
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite.migrations import APPLICATION_ID, scripts
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import RETENTION, accepted, line, new, one, opened_and_closed, process, refusal, rows, serving, set_version

pytestmark = pytest.mark.usefixtures("threads_ended")
REFUSED = """
import asyncio, sys, threading
from pathlib import Path
from gateway.core.errors import StoreCorrupt
from gateway.store.sqlite.store import SqliteStore

async def main():
    try:
        await SqliteStore.open(Path(sys.argv[1]), 1e6)
    except StoreCorrupt:
        pass

def slowly(frame, event, argument):
    if event == "call" and "aiosqlite" in frame.f_code.co_filename:
        threading.Event().wait(0.2)

broken = []
threading.excepthook = lambda error: broken.append(error.exc_value)
threading.setprofile(slowly)  # the thread loses every race
asyncio.run(main())
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(broken, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


class TestPragmas:
    @pytest.mark.parametrize(
        ("pragma", "value"),
        [
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("wal_autocheckpoint", 0),
            ("temp_store", 2),
            ("foreign_keys", 1),
            ("application_id", APPLICATION_ID),
            ("user_version", len(scripts())),
        ],
    )
    async def test_the_pragmas_hold_on_a_new_database_and_at_the_next_start(self, path: Path, pragma: str, value: object) -> None:
        for _ in range(2):
            writer = await opening.open_writer(path)
            try:
                assert await writer.run(lambda connection: connection.execute(f"PRAGMA {pragma}").fetchone()[0]) == value
            finally:
                await writer.close()

    async def test_a_file_that_was_switched_to_another_journal_is_switched_back(self, path: Path) -> None:
        await opened_and_closed(path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
            assert one(path, "PRAGMA journal_mode") == "wal"

    async def test_a_database_that_another_process_keeps_from_wal_mode_is_refused(self, path: Path) -> None:
        """A reader of a database in rollback mode keeps it from being switched, and SQLite says so by its answer or as busy."""
        await opened_and_closed(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = DELETE").fetchone()
            other.execute("BEGIN")
            other.execute("SELECT * FROM messages").fetchall()
            await refusal(path, StoreError)
        assert not await opened_and_closed(path)

    async def test_a_database_that_sqlite_does_not_keep_in_wal_mode_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`PRAGMA journal_mode = WAL` fails by its answer, not by an exception: `memory` here, `delete` on some file systems."""
        monkeypatch.chdir(tmp_path)
        refused = await refusal(Path(":memory:"), StoreFailed)
        assert "journal_mode = memory" in str(refused)


class TestTheSchema:
    async def test_a_new_database_names_its_application_and_its_version(self, path: Path) -> None:
        await opened_and_closed(path)
        header = path.read_bytes()[:100]
        assert header[:16] == b"SQLite format 3\0"
        assert header[68:72] == b"LMGW" == APPLICATION_ID.to_bytes(4, "big")
        assert int.from_bytes(header[60:64], "big") == len(scripts()) >= 1

    async def test_the_schema_makes_wrong_states_unwritable(self, path: Path) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
        with closing(sqlite3.connect(path)) as connection:
            for wrong in (
                "UPDATE deliveries SET state = 'sent'",
                "UPDATE deliveries SET state = 'delivered'",
                "UPDATE deliveries SET due_ms = NULL",
                "UPDATE deliveries SET behind = 2",
                "UPDATE messages SET status = 'lost'",
            ):
                with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                    connection.execute(wrong)

    async def test_an_empty_file_becomes_a_database(self, path: Path) -> None:
        path.touch()
        async with serving(path) as store:
            await accepted(store, new("msg_1"))

    async def test_opening_again_changes_no_row(self, path: Path) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
        tables = ("messages", "deliveries", "counters", "sqlite_schema")
        before = [rows(path, f"SELECT * FROM {table}") for table in tables]
        await opened_and_closed(path)
        assert [rows(path, f"SELECT * FROM {table}") for table in tables] == before


class TestFiles:
    @pytest.mark.parametrize("name", ["a space", "100%25", "a?mode=memory", "a#b", "データ", "-wal", "q'\""])
    async def test_the_reader_reads_the_file_that_the_writer_writes_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        async with serving(tmp_path / name) as store:
            await accepted(store, new("msg_1"))
            assert len((await store.claim("erp", START, 10, ())).owed) == 1
        assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.lock"}

    async def test_a_database_may_have_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        async with serving(Path("gateway.db")) as store:
            await accepted(store, new("msg_1"))
            assert len((await store.claim("erp", START, 10, ())).owed) == 1

    async def test_no_other_user_may_read_received_messages(self, path: Path) -> None:
        """This holds for the database and for its write-ahead log, which has the same bodies."""
        with umask(0o022):
            async with serving(path) as store:
                await accepted(store, new("msg_1"))
                modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes.keys() == {"gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"}
        assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}

    async def test_a_clean_end_leaves_one_file_with_everything_in_it(self, path: Path) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
        assert {file.name for file in path.parent.iterdir()} == {"gateway.db", "gateway.db.lock"}

    async def test_a_missing_folder_is_reported_with_its_path(self, tmp_path: Path) -> None:
        missing = tmp_path / "nowhere" / "gateway.db"
        refused = await refusal(missing, StoreFailed)
        assert str(missing) in str(refused)
        assert refused.exit_code == 74
        assert not missing.parent.exists()

    async def test_a_folder_in_place_of_the_database_is_reported_with_its_path(self, path: Path) -> None:
        path.mkdir()
        refused = await refusal(path, StoreFailed)
        assert str(path) in str(refused)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


class TestTheReader:
    @pytest.mark.parametrize(
        "write",
        [
            "INSERT INTO counters (sink) VALUES ('x')",
            "DELETE FROM messages",
            "CREATE TABLE x (y)",
            "PRAGMA user_version = 9",
        ],
    )
    async def test_the_reader_cannot_write(self, path: Path, write: str) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
            with pytest.raises(StoreFailed, match="READONLY"):
                await store.read(lambda connection: connection.execute(write))
            assert one(path, "SELECT count(*) FROM messages") == 1

    async def test_the_reader_cannot_checkpoint(self, path: Path) -> None:
        """A checkpoint of another connection than the writer's can lose pages (sqlite.org/wal.html, WAL-reset bug)."""
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
            wal = Path(f"{path}-wal").stat().st_size
            file = path.stat().st_size
            with pytest.raises(StoreError):
                await store.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
            assert (Path(f"{path}-wal").stat().st_size, path.stat().st_size) == (wal, file)

    async def test_the_reader_sees_a_row_as_soon_as_it_is_committed_and_not_before(self, path: Path) -> None:
        store = await SqliteStore.open(path, RETENTION)
        task = asyncio.create_task(store.accept(new("msg_1")))
        await asyncio.sleep(0)
        assert await store.messages_after(0, 10) == []
        await store.commits.step()
        assert len(await store.messages_after(0, 10)) == 1
        await task
        await store.close()


async def test_a_refused_start_leaves_no_thread_that_outlives_the_loop(path: Path) -> None:
    """Such a thread would print a traceback on the operator's terminal, beside the reason for the refusal."""
    await opened_and_closed(path)
    set_version(path, 99)
    with process(REFUSED, path) as gateway:
        assert line(gateway) == "[]"
