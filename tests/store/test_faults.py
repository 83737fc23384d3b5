"""Disks that fill up or break, and other processes that lock the file: refusals, recoveries, and ends of the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.outcome import Delivered
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite.sqlite_errors import translated
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import (
    HANG,
    RETENTION,
    accepted,
    assert_counters_right,
    go_on,
    line,
    new,
    one,
    process,
    raising,
    rows,
    serving,
    settlement,
    sqlite_error,
)

PASSES, CORRUPT, BROKEN = (StoreError, 74), (StoreCorrupt, 65), (StoreFailed, 74)
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
connection.close()
print("unlocked", flush=True)
sys.stdin.readline()
"""
SMALL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from gateway.core.errors import StoreFailed
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import new

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), 1e6)
    running = asyncio.create_task(store.run())
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    number = 0
    try:
        while True:
            await store.accept(new(f"msg_{number}", body=b"x" * 3000))
            print("accepted", number, flush=True)
            number += 1
    except StoreFailed as error:
        print("failed", flush=True)
    for again in range(3):
        try:
            await store.accept(new("small"))
            print("ACCEPTED", flush=True)
        except StoreFailed:
            print("refused", flush=True)
    try:
        await running
        print("RUNS ON", flush=True)
    except StoreFailed as error:
        print("ended", error.exit_code, flush=True)
    await store.close(clean=False)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """A store whose writer does not run yet; it is closed whatever happens."""
    store = await SqliteStore.open(path, RETENTION)
    yield store
    await store.close(clean=False)


class TestTranslation:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("SQLITE_FULL", PASSES),
            ("SQLITE_IOERR_SHMSIZE", PASSES),
            ("SQLITE_BUSY", PASSES),
            ("SQLITE_BUSY_RECOVERY", PASSES),
            ("SQLITE_BUSY_SNAPSHOT", PASSES),
            ("SQLITE_LOCKED", PASSES),
            ("SQLITE_LOCKED_SHAREDCACHE", PASSES),
            ("SQLITE_CORRUPT", CORRUPT),
            ("SQLITE_CORRUPT_INDEX", CORRUPT),
            ("SQLITE_NOTADB", CORRUPT),
            ("SQLITE_IOERR", BROKEN),
            ("SQLITE_IOERR_READ", BROKEN),
            ("SQLITE_IOERR_SHORT_READ", BROKEN),
            ("SQLITE_IOERR_WRITE", BROKEN),
            ("SQLITE_IOERR_FSYNC", BROKEN),
            ("SQLITE_IOERR_SHMMAP", BROKEN),
            ("SQLITE_READONLY", BROKEN),
            ("SQLITE_READONLY_DBMOVED", BROKEN),
            ("SQLITE_CANTOPEN", BROKEN),
            ("SQLITE_PERM", BROKEN),
        ],
    )
    def test_each_kind_of_disk_error_has_its_class_and_exit_code(self, name: str, kind: tuple[type[StoreError], int]) -> None:
        error = translated(sqlite_error(getattr(sqlite3, name)))
        assert (type(error), getattr(error, "exit_code", None)) == kind

    @pytest.mark.parametrize("name", ["SQLITE_CONSTRAINT_CHECK", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_ERROR", "SQLITE_RANGE"])
    def test_an_error_that_only_a_bug_can_cause_is_not_translated(self, name: str) -> None:
        error = sqlite_error(getattr(sqlite3, name))
        assert translated(error) is error

    def test_an_error_of_the_sqlite3_module_itself_is_not_translated(self) -> None:
        error = sqlite3.ProgrammingError("Cannot operate on a closed database.")
        assert translated(error) is error

    def test_the_error_about_a_broken_disk_names_the_error_of_sqlite(self) -> None:
        with pytest.raises(sqlite3.OperationalError) as caught:
            sqlite3.connect("file:/nowhere/at/all?mode=ro", uri=True)
        assert "SQLITE_CANTOPEN" in str(translated(caught.value))


class TestABrokenDisk:
    async def test_a_broken_disk_ends_run_and_every_later_accept_and_settle_fails(self, store: SqliteStore, path: Path) -> None:
        async with asyncio.timeout(HANG):
            running = asyncio.create_task(store.run())
            seq = await accepted(store, new("msg_1"))

            with pytest.raises(StoreFailed):
                await store.accept(new(raising(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC))))
            with pytest.raises(StoreFailed):
                await running
            for _ in range(2):
                with pytest.raises(StoreFailed):
                    await store.accept(new("msg_2"))
                with pytest.raises(StoreFailed):
                    await store.settle(settlement(seq, Delivered(200)))
                with pytest.raises(StoreFailed):
                    await store.purge(0, 10, START)
            assert rows(path, "SELECT sender_id FROM messages") == [(b"msg_1",)]

    async def test_a_broken_disk_fails_everything_that_waits(self, store: SqliteStore, path: Path) -> None:
        async with asyncio.timeout(HANG):
            trap = new(raising(sqlite_error(sqlite3.SQLITE_IOERR_WRITE)))
            tasks = [asyncio.create_task(store.accept(message)) for message in (new("msg_1"), trap, new("msg_2"))]
            settled = store.settle(settlement(1, Delivered(200)))
            await asyncio.sleep(0)
            with pytest.raises(StoreFailed):
                await store.commits.step()
            answers = await asyncio.gather(*tasks, settled, return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreFailed}
            assert one(path, "SELECT count(*) FROM messages") == 0

    async def test_a_corrupt_page_ends_the_writer_with_an_exit_code_of_its_own(self, store: SqliteStore) -> None:
        async with asyncio.timeout(HANG):
            running = asyncio.create_task(store.run())
            with pytest.raises(StoreCorrupt):
                await store.accept(new(raising(sqlite_error(sqlite3.SQLITE_CORRUPT))))
            with pytest.raises(StoreCorrupt) as ended:
                await running
            assert ended.value.exit_code == 65
            with pytest.raises(StoreCorrupt):
                await store.accept(new("msg_1"))

    async def test_a_write_that_the_kernel_refuses_ends_the_process_and_loses_nothing_acknowledged(self, path: Path) -> None:
        promised = []
        with process(SMALL_DISK, path) as gateway:
            while (told := line(gateway)).startswith("accepted "):
                promised.append(told.removeprefix("accepted "))
            assert told == "failed"
            assert [line(gateway) for _ in range(4)] == ["refused"] * 3 + ["ended 74"]
        assert len(promised) > 10

        async with serving(path) as store:
            assert store.after_unclean_end
            await store.quick_check()
            kept = {sender_id.decode() for (sender_id,) in rows(path, "SELECT sender_id FROM messages")}
            assert {f"msg_{number}" for number in promised} <= kept
            await assert_counters_right(store)
            await accepted(store, new("after the repair"))


class TestAFullDisk:
    async def test_the_store_works_again_once_there_is_room_and_lost_only_what_was_refused(self, store: SqliteStore) -> None:
        writer = await limited(store)
        running = asyncio.create_task(store.run())
        seq = await accepted(store, new("msg_1"))
        number = 2
        with pytest.raises(StoreError, match="full") as refused:
            while True:
                await store.accept(new(f"msg_{number}", body=b"x" * 20_000))
                number += 1
        assert type(refused.value) is StoreError
        assert not running.done()
        assert len(await store.messages_after(0, 100)) == number - 1
        await assert_counters_right(store)

        await writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
        await accepted(store, new(f"msg_{number}", body=b"x" * 20_000))
        assert await store.settle(settlement(seq, Delivered(200)))
        await assert_counters_right(store)
        store.finish()
        await running

    async def test_a_batch_that_does_not_fit_is_refused_as_a_whole(self, store: SqliteStore) -> None:
        await limited(store)
        answers = asyncio.gather(
            *(store.accept(new(f"msg_{number}", body=b"x" * 60_000)) for number in range(20)), return_exceptions=True
        )
        await asyncio.sleep(0)
        while await store.commits.step():
            pass
        assert {type(answer) for answer in await answers} == {StoreError}
        assert await store.messages_after(0, 100) == []
        assert await store.counts() == {}


async def limited(store: SqliteStore) -> opening.Connection:
    """Let the database have a hundred pages at most: SQLite answers SQLITE_FULL beyond them."""
    writer = store.commits.connection
    assert await writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 100").fetchone()[0]) == 100
    return writer


class TestLockedByAStranger:
    async def test_accepts_and_settles_fail_during_a_foreign_lock_and_work_again_after_it(self, path: Path) -> None:
        async with serving(path) as store:
            seq = await accepted(store, new("msg_1"))
            with process(LOCK, path) as stranger:
                assert line(stranger) == "locked"
                accepting = asyncio.create_task(store.accept(new("msg_2")))
                await asyncio.sleep(0)
                settling = store.settle(settlement(seq, Delivered(200)))
                answers = await asyncio.gather(accepting, settling, return_exceptions=True)
                assert [type(answer) for answer in answers] == [StoreError, StoreError]
                assert "locked" in str(answers[0])
                assert len((await store.claim("erp", START, 10, ())).owed) == 1, "reading goes on"

                go_on(stranger)
                assert line(stranger) == "unlocked"
                await accepted(store, new("msg_2"))
                assert await store.settle(settlement(seq, Delivered(200)))
                await assert_counters_right(store)

    async def test_the_writer_waits_for_the_end_of_a_short_lock(self, path: Path) -> None:
        async with serving(path) as store:
            with process(LOCK, path) as stranger:
                assert line(stranger) == "locked"
                task = asyncio.create_task(store.accept(new("msg_1")))
                await asyncio.sleep(0)
                go_on(stranger)
                await task
            assert one(path, "SELECT count(*) FROM messages") == 1
