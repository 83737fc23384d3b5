"""Backups of a database in use: a backup has every commit, and gets its name only when it is complete."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.core.documents import Backup
from gateway.core.errors import BackupExists, BackupFailed, StoreCorrupt
from gateway.core.outcome import Delivered
from gateway.store.base import RESERVE
from gateway.store.sqlite.backup import back_up, unfinished
from gateway.store.sqlite.long_read import LongReadThread
from gateway.store.sqlite.migrations import scripts
from tests.fakes import START
from tests.store.kit import HANG, accepted, crash_copy, fill, looking, new, one, rows, serving, settlement
from tests.support.small_disk import fill as fill_disk
from tests.support.waiting import until

TABLES = ("messages", "conflicts", "deliveries", "attempts", "counters", "sinks", "threads", "sqlite_sequence")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "backup.db"


class Meanwhile(sqlite3.Connection):
    """A connection that calls a function before it begins to copy."""

    before: Callable[[], object]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql.startswith("VACUUM"):
            self.before()
        return super().execute(sql, parameters)


def copied(path: Path, file: Path, before: Callable[[], object] = lambda: None, *, min_free: int = 0) -> Backup:
    """Copy over a connection of its own."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, factory=Meanwhile)) as connection:
        connection.before = before
        return back_up(connection, database=path, file=file, now=START, min_free=min_free)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


async def test_a_backup_is_one_file_with_every_commit_that_no_other_user_may_read(path: Path, file: Path) -> None:
    await fill(path, 300, body=b"\xff\0" * 2000)
    async with serving(path) as store:
        seq = await accepted(store, new("msg_in_the_log"))
        await store.settle(settlement(seq, Delivered(200)))
        backup = copied(path, file)
        assert contents(file) == contents(path)
    assert names(file.parent) == ["backup.db"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]
    assert backup == Backup(str(file), file.stat().st_size, len(scripts()), 301, "2026-02-25T06:13:20.000Z")


async def test_a_backup_is_a_database_to_start_from(path: Path, file: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
        copied(path, file)
        await accepted(store, new("msg_after"))
    async with serving(file) as store:
        assert [one.message.sender_id for one in (await store.claim("erp", START, 10, ())).owed] == ["msg_1"]
        await accepted(store, new("msg_after"))


async def test_commits_during_a_backup_are_not_delayed_and_not_in_it(path: Path, file: Path) -> None:
    await fill(path, 5000, body=b"x" * 4000)
    async with serving(path) as store:
        copying = store.back_up(file, now=START, min_free=0)
        number = 0
        while not copying.ended.done():
            await accepted(store, new(f"msg_meanwhile_{number}"))
            number += 1
        assert number > 3 and 5000 <= copying.ended.result().messages <= 5000 + number
        await copying.end()
    assert one(file, "SELECT count(*) FROM messages") == copying.ended.result().messages


async def test_a_backup_into_a_folder_is_named_after_its_time(path: Path, file: Path) -> None:
    await fill(path, 1)
    assert copied(path, file.parent).file == str(file.parent / "gateway-20260225T061320Z.db")
    with pytest.raises(BackupExists):
        copied(path, file.parent)


@pytest.mark.parametrize("there", ["a file", "a link to nowhere"])
async def test_a_backup_overwrites_no_file(path: Path, file: Path, there: str) -> None:
    await fill(path, 1)
    if there == "a file":
        file.write_bytes(b"precious")
    else:
        file.symlink_to(file.parent / "nowhere")
    with pytest.raises(BackupExists, match="overwrites nothing"):
        copied(path, file, lambda: pytest.fail("it began"))
    assert names(file.parent) == ["backup.db"]
    assert file.is_symlink() or file.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["gateway.db-journal", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"])
async def test_a_backup_refuses_a_name_that_sqlite_uses_itself(path: Path, name: str) -> None:
    """A `gateway.db-journal` would keep every later connection, and the next start, from the database."""
    await fill(path, 1)
    path.with_name("gateway.db.lock").unlink()
    with pytest.raises(BackupFailed, match="belongs to the database"):
        copied(path, path.with_name(name), lambda: pytest.fail("it began"))
    assert names(path.parent) == ["gateway.db"]


@pytest.mark.parametrize("name", ["mine.partial", "gateway.db", "x" * 255, ".hidden", "データ"])
async def test_any_other_name_is_allowed_and_files_with_similar_names_stay(tmp_path: Path, file: Path, name: str) -> None:
    path = tmp_path / "gateway.db.partial"
    await fill(path, 1)
    theirs = {other: file.with_name(other) for other in ("mine", f"{name}.partial"[-255:], f".{name}.partial"[-255:])}
    for other in theirs.values():
        other.write_bytes(b"theirs")
    assert copied(path, file.with_name(name)).messages == 1
    assert {other.read_bytes() for other in theirs.values()} == {b"theirs"}
    assert names(file.parent) == sorted({name, *theirs})


async def test_a_backup_does_not_overwrite_a_file_that_appears_meanwhile(path: Path, file: Path) -> None:
    await fill(path, 1)
    with pytest.raises(BackupExists):
        copied(path, file, lambda: file.write_bytes(b"theirs"))
    assert names(file.parent) == ["backup.db"] and file.read_bytes() == b"theirs"


async def test_a_backup_removes_the_partial_file_of_a_killed_one(path: Path, file: Path) -> None:
    await fill(path, 1)
    left = unfinished(path, file.parent)
    left.write_bytes(b"half")
    left.with_name(f"{left.name}-journal").write_bytes(b"half")
    others = file.with_name(f".legitmark-gateway-{'0' * 32}.partial")
    others.write_bytes(b"the copy that another gateway is making here")
    assert copied(path, file.with_name("another.db")).messages == 1
    assert names(file.parent) == sorted(["another.db", others.name])


async def test_a_link_with_the_name_of_the_partial_file_is_not_followed_or_removed(path: Path, file: Path) -> None:
    await fill(path, 1)
    precious = file.with_name("precious")
    precious.write_bytes(b"precious")
    unfinished(path, file.parent).symlink_to(precious)
    with pytest.raises(BackupFailed):
        copied(path, file)
    assert precious.read_bytes() == b"precious" and unfinished(path, file.parent).is_symlink()


async def test_an_interrupted_backup_ends_at_once_and_leaves_nothing_behind(path: Path, file: Path) -> None:
    await fill(path, 20_000, body=b"x" * 4000)
    copying = LongReadThread(path, partial(back_up, database=path, file=file, now=START, min_free=0))
    partial_file = unfinished(path, file.parent)
    await until(lambda: partial_file.exists() and partial_file.stat().st_size > 1_000_000, HANG)
    await copying.end()
    error = copying.ended.exception()  # a backup that went on to its end would have none
    assert isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error) and names(file.parent) == []


async def test_a_disk_that_fills_up_is_reported_and_no_partial_file_is_left(path: Path, small_disk: Path) -> None:
    await fill(path, 1000, body=b"x" * 4000)
    with pytest.raises(BackupFailed, match="the disk is full: make room"):
        copied(path, small_disk / "backup.db", lambda: fill_disk(small_disk, 1_000_000))
    assert names(small_disk) == ["filler"]


async def test_a_backup_does_not_begin_without_room_for_it(path: Path, file: Path, small_disk: Path) -> None:
    await fill(path, 3000, body=b"x" * 4000)
    with pytest.raises(BackupFailed, match=r"has 8 MiB free, the backup needs 1\d MiB: make room"):
        copied(path, small_disk / "backup.db", lambda: pytest.fail("it began"))
    free = shutil.disk_usage(path.parent).free
    with pytest.raises(BackupFailed, match=r"store\.min_free"):
        copied(path, file, lambda: pytest.fail("it began"), min_free=free - RESERVE)
    assert names(small_disk) == names(file.parent) == []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("/proc/nowhere/b.db", "No such file"),
        ("/sys/b.db", "not permitted|denied|Read-only"),
        ("/dev/null/b.db", "Not a directory"),
    ],
)
async def test_a_refusal_of_an_unwritable_folder_says_where_the_gateway_may_write(path: Path, where: str, said: str) -> None:
    await fill(path, 1)
    with pytest.raises(BackupFailed, match=said) as refused:
        copied(path, Path(where))
    assert str(path.with_name("b.db")) in str(refused.value) and "ReadWritePaths=" in str(refused.value)


async def test_a_damaged_database_makes_no_backup(path: Path, file: Path) -> None:
    await fill(path, 3000, body=b"x" * 3000)
    content = path.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    path.write_bytes(content[:middle] + b"\xa5" * 4096 * 50 + content[middle + 4096 * 50 :])
    copying = LongReadThread(path, partial(back_up, database=path, file=file, now=START, min_free=0))
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        await copying.ended
    assert names(file.parent) == []


async def test_a_write_ahead_log_that_a_crash_left_is_backed_up_and_stays(path: Path, tmp_path: Path, file: Path) -> None:
    async with serving(path) as store:
        for number in range(10):
            await accepted(store, new(f"msg_{number}"))
        crashed = crash_copy(path, tmp_path / "crashed")
    log = Path(f"{crashed}-wal").read_bytes()
    copying = LongReadThread(crashed, partial(back_up, database=crashed, file=file, now=START, min_free=0), at_rest=True)
    assert (await copying.ended).messages == 10
    assert Path(f"{crashed}-wal").read_bytes() == log


async def test_a_backup_of_a_closed_database_leaves_no_trace(path: Path, file: Path) -> None:
    await fill(path, 10)
    Path(f"{path}.lock").unlink()
    copying = LongReadThread(path, partial(back_up, database=path, file=file, now=START, min_free=0), at_rest=True)
    assert (await copying.ended).messages == 10
    assert names(path.parent) == ["backups", "gateway.db"]


async def test_the_write_ahead_log_shrinks_after_a_long_read(path: Path) -> None:
    log = Path(f"{path}-wal")
    async with serving(path) as store:
        with looking(path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM messages").fetchall()
            for number in range(90):
                await accepted(store, new(f"msg_{number}", body=b"x" * 1_000_000))
            assert log.stat().st_size > 90_000_000
        for number in range(90, 100):
            await accepted(store, new(f"msg_{number}"))
        assert log.stat().st_size <= 64 * 1024 * 1024
