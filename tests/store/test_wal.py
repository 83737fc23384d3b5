"""The write-ahead log: the writer itself checkpoints a long one, so that no error of the main file is hidden."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.errors import StoreFailed
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import HANG, RETENTION, accepted, looking, new, one, rows, serving, sqlite_error
from tests.support.waiting import until

FRAME = 24 + 4096
LONG = 4000 * FRAME
BODY = b"x" * 250_000
"""Seventy pages with everything that belongs to the message: sixty such messages make the log long."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def log_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


class Moves:
    """Counts the checkpoints, and may call a function before each of them."""

    def __init__(self, store: SqliteStore, before: Callable[[], object] = lambda: None) -> None:
        self.number = 0
        self.before = before
        self._move = store.commits.checkpoint
        store.commits.checkpoint = self

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.number += 1
        self.before()
        self._move(connection)


async def test_the_log_stays_bounded_however_much_is_written(path: Path) -> None:
    async with serving(path) as store:
        moves = Moves(store)
        for number in range(300):  # about four times the length that causes a checkpoint
            await accepted(store, new(f"msg_{number}", body=BODY))
        await store.counts()
        assert LONG <= log_size(path) <= LONG + 2 * len(BODY)
        assert path.stat().st_size > 3 * LONG
        assert 3 <= moves.number <= 5


async def test_a_try_of_the_disk_writes_to_it_and_leaves_nothing_behind(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
        before = log_size(path), rows(path, "SELECT * FROM unlogged")
        await store.try_disk()
        assert log_size(path) > before[0] and rows(path, "SELECT * FROM unlogged") == before[1]


async def test_a_log_that_a_reader_holds_is_checkpointed_again_until_the_reader_ends(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_0"))
        with looking(path) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM messages").fetchone() == (1,)
            for number in range(1, 100):
                await accepted(store, new(f"msg_{number}", body=BODY))
            assert log_size(path) > LONG + 2 * len(BODY)
        await accepted(store, new("msg_100"))
        await accepted(store, new("msg_101"))
        size = log_size(path)
        for number in range(102, 160):
            await accepted(store, new(f"msg_{number}", body=BODY))
        assert log_size(path) == size  # it began again


async def test_a_reader_of_the_newest_commit_does_not_let_the_log_grow_without_end(path: Path) -> None:
    """The whole log is in the file then, but the log cannot begin again, so later frames have to be checkpointed, too."""
    async with serving(path) as store:
        with looking(path) as reader:
            for number in range(150):
                await accepted(store, new(f"msg_{number}", body=BODY))
                reader.rollback()
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM messages").fetchone()
        held = log_size(path)
        for number in range(150, 300):
            await accepted(store, new(f"msg_{number}", body=BODY))
        assert log_size(path) <= held + 2 * len(BODY)


async def test_a_long_log_left_by_a_crash_is_checkpointed_at_the_first_commit(path: Path, tmp_path: Path) -> None:
    async with serving(path) as store:
        store.commits.checkpoint = lambda connection: None
        for number in range(100):
            await accepted(store, new(f"msg_{number}", body=BODY))
        copy = tmp_path / "copy.db"
        copy.write_bytes(path.read_bytes())
        Path(f"{copy}-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    async with serving(copy) as store:
        moves = Moves(store)
        await accepted(store, new("after"))
        await accepted(store, new("and after"))
        assert moves.number == 1 and one(copy, "SELECT count(*) FROM messages") == 102


async def test_a_caller_does_not_wait_for_the_checkpoint_after_its_commit(path: Path) -> None:
    go_on = threading.Event()
    async with serving(path) as store:
        moves = Moves(store, lambda: go_on.wait(60))
        told: list[int] = []

        async def client() -> None:
            for number in range(100):
                told.append(await accepted(store, new(f"msg_{number}", body=BODY)))

        sending = asyncio.create_task(client())
        try:
            await until(lambda: moves.number, 60)
            await until(lambda: one(path, "SELECT count(*) FROM messages") == len(told), HANG)
            assert 50 < len(told) < 100
        finally:
            go_on.set()
            await sending


async def test_a_disk_too_full_for_a_checkpoint_is_reported_until_it_has_room(path: Path) -> None:
    def full() -> None:
        raise sqlite_error(sqlite3.SQLITE_FULL)

    async with serving(path) as store:
        moves = Moves(store, full)
        for number in range(80):
            await accepted(store, new(f"msg_{number}", body=BODY))
        await store.change(lambda connection, changes: None)
        assert moves.number > 1 and store.trouble is not None and "full" in store.trouble
        moves.before = lambda: None
        await accepted(store, new("there is room"))
        await store.change(lambda connection, changes: None)
        assert store.trouble is None


async def test_an_error_of_the_main_file_ends_the_writer_and_loses_no_commit(path: Path) -> None:
    def fails() -> None:
        raise sqlite_error(sqlite3.SQLITE_IOERR_WRITE)

    store = await SqliteStore.open(path, RETENTION)
    try:
        running = asyncio.create_task(store.run())
        Moves(store, fails)
        promised = 0
        async with asyncio.timeout(60):
            with pytest.raises(StoreFailed, match="trusted"):
                while True:
                    await accepted(store, new(f"msg_{promised}", body=BODY))
                    promised += 1
            with pytest.raises(StoreFailed):
                await running
        assert promised > 50 and one(path, "SELECT count(*) FROM messages") == promised
    finally:
        await store.close(clean=False)
