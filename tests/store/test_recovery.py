"""Recovery before the first read: rollbacks, refusals, and the files of other programs, which are never touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import StoreCorrupt, StoreError
from tests.fakes import START
from tests.store.kit import accepted, new, one, opened_and_closed, refusal, serving

pytestmark = pytest.mark.usefixtures("threads_ended")
HOT = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("PRAGMA cache_spill = 1")
connection.execute("BEGIN IMMEDIATE")
for statement in sys.argv[2].split("; "):
    connection.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A process that is killed within a transaction so large that its pages are in the file already."""
MANY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "


def killed_within(path: Path, statement: str) -> None:
    done = subprocess.run([sys.executable, "-c", HOT, str(path), statement], check=False)
    assert done.returncode == -signal.SIGKILL
    journal = path.with_name(f"{path.name}-journal")
    assert journal.stat().st_size > 512 and journal.read_bytes()[:1] != b"\0"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(".lock")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


async def test_a_hot_journal_of_our_own_database_is_rolled_back(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    killed_within(path, MANY + "INSERT INTO threads SELECT 'a', 'b', i, hex(zeroblob(900)), '', 0, 0 FROM n")
    async with serving(path) as store:
        assert len((await store.claim("erp", START, 10, ())).owed) == 1
        assert one(path, "SELECT count(*) FROM threads") == 0
    assert one(path, "PRAGMA integrity_check") == "ok"


async def test_a_database_whose_creation_was_cut_short_is_created_again(path: Path) -> None:
    killed_within(path, "CREATE TABLE messages (a); " + MANY + "INSERT INTO messages SELECT hex(zeroblob(900)) FROM n")
    path.write_bytes(bytes(path.stat().st_size))  # as after a power cut: the file had its size, but the pages were never written
    await opened_and_closed(path)
    assert one(path, "SELECT count(*) FROM messages") == 0


async def test_the_hot_journal_of_another_program_is_left_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    killed_within(path, MANY + "INSERT INTO theirs SELECT hex(zeroblob(900)) FROM n")
    before = contents(path.parent)
    refused = await refusal(path, StoreCorrupt)
    assert "another program" in str(refused) and contents(path.parent) == before


@pytest.mark.parametrize("left", ["empty", "gone"])
async def test_a_log_whose_database_is_empty_or_gone_is_never_deleted(path: Path, left: str) -> None:
    """SQLite itself deletes the log then (sqlite3 pager.c, pagerOpenWalIfPresent), with all that it holds."""
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
        log = path.with_name("gateway.db-wal").read_bytes()
    assert log
    path.with_name("gateway.db-wal").write_bytes(log)
    path.write_bytes(b"") if left == "empty" else path.unlink()
    before = contents(path.parent)
    refused = await refusal(path, StoreCorrupt)
    assert "gateway.db-wal" in str(refused) and left in str(refused) and contents(path.parent) == before
    path.with_name("gateway.db-wal").rename(path.with_name("kept"))  # what the message says to do
    await opened_and_closed(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
@pytest.mark.parametrize("suffix", ["-shm", "-wal"])
async def test_a_file_of_another_user_beside_the_database_is_reported_as_such(path: Path, suffix: str) -> None:
    await opened_and_closed(path)
    path.with_name(path.name + suffix).touch(0o000)
    refused = await refusal(path, StoreError)
    assert "belong to the gateway's user" in str(refused) and refused.exit_code == 74
