"""Files of the database that are cut, overwritten or hidden while SQLite has them open, at any instant of a transaction."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core.errors import StoreFailed
from gateway.store.sqlite.file_watch import FileWatch
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import RETENTION, accepted, new, serving

PAGE = 4096


class Written:
    """A database with one writer, and the watch that the writer keeps over its files."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.db"
        self.wal, self.index = (folder / f"gateway.db{suffix}" for suffix in ("-wal", "-shm"))
        (folder / "gateway.db.lock").write_bytes(b"1".ljust(32))
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "wal_autocheckpoint = 0", f"journal_size_limit = {50 * PAGE}"):
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        self.connection.execute("CREATE TABLE rows (body BLOB)")
        self.watch = FileWatch(self.path)

    def insert(self, pages: int) -> None:
        self.connection.execute("INSERT INTO rows VALUES (?)", (random.randbytes(pages * PAGE),))

    def commit(self, pages: int = 1) -> None:
        with self.watch.writing():
            self.connection.execute("BEGIN IMMEDIATE")
            self.insert(pages)
            self.connection.execute("COMMIT")

    def roll_back(self, pages: int) -> None:
        """A transaction too big for the cache, so that a part of it goes into the log."""
        with self.watch.writing():
            self.connection.execute("PRAGMA cache_size = 5")
            self.connection.execute("BEGIN IMMEDIATE")
            self.insert(pages)
            self.connection.execute("ROLLBACK")

    def move(self) -> None:
        with self.watch.moving():
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def commit_elsewhere(self) -> None:
        """Write as a person at SQLite's prompt would, although nobody should."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            other.execute("INSERT INTO rows VALUES (?)", (b"x" * PAGE,))

    def close(self) -> None:
        self.connection.close()
        self.watch.close()


@contextmanager
def written() -> Iterator[Written]:
    with tempfile.TemporaryDirectory() as folder, closing(Written(Path(folder))) as database:
        yield database


pages = st.integers(1, 30)


@given(before=st.lists(pages, max_size=5), within=pages, keep=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=60)
def test_a_log_cut_within_a_transaction_is_reported_even_if_the_commit_makes_it_long_again(
    before: list[int], within: int, keep: float
) -> None:
    with written() as database:
        for number in before:
            database.commit(number)
        log = database.wal.read_bytes()
        size = len(log)
        assume(any(log[int(size * keep) :]))  # zeros that become zeros again are no loss
        with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut"), database.watch.writing():
            database.connection.execute("BEGIN IMMEDIATE")
            database.insert(within)
            os.truncate(database.wal, int(size * keep))
            database.connection.execute("COMMIT")
            assert database.wal.stat().st_size > size


@pytest.mark.parametrize("within", [False, True], ids=["before it", "within it"])
def test_an_error_of_sqlite_in_a_truncated_file_is_reported_as_the_truncation(within: bool) -> None:
    with written() as database:
        database.commit()
        if not within:
            os.truncate(database.wal, 0)
        with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut"), database.watch.writing():
            os.truncate(database.wal, 0)
            raise sqlite3.DatabaseError("database disk image is malformed")


def test_a_checkpoint_that_fails_halfway_is_not_taken_for_a_foreign_write() -> None:
    with written() as database:
        database.commit(20)
        with pytest.raises(sqlite3.DatabaseError, match="disk I/O error"), database.watch.moving():
            database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            raise sqlite3.DatabaseError("disk I/O error")
        database.watch.check()
        database.commit()


def test_an_error_of_sqlite_in_whole_files_is_not_translated() -> None:
    with written() as database, pytest.raises(sqlite3.DatabaseError, match="as SQLite words it"), database.watch.writing():
        raise sqlite3.DatabaseError("as SQLite words it")


@given(hole=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=30)
def test_a_log_filled_with_zeros_is_reported_with_and_without_a_commit(hole: float) -> None:
    with written() as database:
        database.commit(3)
        log = database.wal.read_bytes()
        size = len(log)
        assume(any(log[int(size * hole) :]))
        os.truncate(database.wal, int(size * hole))
        os.truncate(database.wal, size)
        with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut or overwritten"):
            database.watch.check()
        with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut or overwritten"):
            database.move()
        with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut or overwritten"):
            database.commit()


def test_an_older_index_copied_over_that_of_the_log_is_reported_before_it_hides_commits() -> None:
    with written() as database:
        older = _bytes(database.index)
        database.commit()
        with database.index.open("r+b") as file:  # the same file, and never shorter: SQLite has it mapped
            file.write(older)
        with pytest.raises(StoreFailed, match=r"gateway\.db-shm was cut or overwritten"):
            database.watch.check()


@given(steps=st.lists(st.one_of(st.tuples(st.sampled_from(["commit", "roll_back"]), pages), st.just(("move",))), max_size=25))
@settings(deadline=None, max_examples=60)
def test_the_writers_own_work_is_never_taken_for_a_foreign_write(steps: list[tuple[str, int]]) -> None:
    """A log that begins again, that is truncated, that a rollback leaves halfway, or that another process appends to."""
    with written() as database:
        for name, *arguments in steps:
            getattr(database, name)(*arguments)
            database.watch.check()
        database.commit_elsewhere()
        database.watch.check()
        database.commit()
        database.watch.check()


def test_a_folder_that_cannot_be_entered_for_a_while_is_not_reported() -> None:
    """The log is checkpointed meanwhile; both files stay open."""
    with written() as database:
        folder, aside = database.path.parent, database.path.parent.with_name(f"{database.path.parent.name}.aside")
        folder.rename(aside)
        folder.symlink_to(folder)  # not even root can follow such a link
        database.commit(20)
        database.move()
        folder.unlink()
        aside.rename(folder)
        database.watch.check()
        database.commit()


async def test_a_reader_that_first_meets_a_truncated_log_names_the_log(tmp_path: Path) -> None:
    """The error names the cut log, not a corrupt database, for which a person would restore a backup."""
    store = await SqliteStore.open(tmp_path / "gateway.db", RETENTION)
    wal = Path(f"{store.path}-wal")
    size = wal.stat().st_size
    os.truncate(wal, 0)
    os.truncate(wal, size)
    with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut or overwritten"):
        await store.ask(lambda connection: connection.execute("SELECT count(*) FROM messages").fetchall())
    await store.close(clean=False)


async def test_no_message_is_acknowledged_if_the_log_was_cut_within_its_transaction(tmp_path: Path) -> None:
    store = None
    with pytest.raises(StoreFailed, match=r"gateway\.db-wal was cut"):
        async with serving(tmp_path / "gateway.db") as store:
            await accepted(store, new("msg_1"))
            waiting = store.change(lambda connection, changes: os.truncate(f"{tmp_path / 'gateway.db'}-wal", 0))
            await waiting
    assert store is not None
    with pytest.raises(StoreFailed):
        await store.accept(new("msg_2"))


def _bytes(index: Path) -> bytes:
    """Read without closing a descriptor of the file, because that would drop SQLite's locks. The end of the process closes it."""
    return os.pread(os.open(index, os.O_RDONLY), 1 << 20, 0)
