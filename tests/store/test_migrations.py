"""Upgrades of a database: a backup comes first, each step is made whole or not at all even after a kill, and a way leads back."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import StoreCorrupt, StoreFailed
from gateway.store.sqlite.backup import unfinished
from gateway.store.sqlite.migrations import Upgrade, backup_before, scripts
from gateway.store.sqlite.store import SqliteStore
from tests.store import writing
from tests.store.kit import HANG, RETENTION, crash_copy, files, fill, go_on, line, one, process, rows, set_version
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("threads_ended")
RELEASED = {
    "0001_initial.sql": "eafa71811141c4cfa30a4930fa66808caed183a5502d78d1219a49ddb836e552",
    "0002_audit_and_questions.sql": "781022edde0c09ab6b5b62e1be6563c7c1cc13391981e953779fb4e52b5c4213",
    "0003_turns_and_time.sql": "eed9dee232a721a5389539f956d2f67fcffa57b04c28c4462be1f928473dabd9",
    "0004_ledger_and_watches.sql": "29c954c6b084af71fdccbf88ef479ae0a8d47f10d4a390e4b611fbb5daa3cf1a",
    "0005_acts_on_sinks.sql": "21034464cec3c857688ac43710108dae047a14746d826f8b05b2646b293ff36b",
}
"""The digest of every released script. An edited script would make two kinds of databases with the same number: write a new
script instead, whose INSERTs and ADD COLUMNs bring the old databases there."""
FIRST = scripts()[:1]
COLUMN = "ALTER TABLE messages ADD COLUMN colour TEXT NOT NULL DEFAULT 'none'; UPDATE messages SET colour = 'red';"
TABLE = "CREATE TABLE notes (message INTEGER PRIMARY KEY, note TEXT); INSERT INTO notes SELECT seq, 'n' FROM messages;"
BROKEN = "CREATE TABLE half (x); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1);"
LONG = f"{COLUMN} CREATE TABLE filler (x); " + (
    "INSERT INTO filler WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000)"
    " SELECT randomblob(1000) FROM n;"
)
"""A statement that takes longer than any test, so that the process is killed within it."""
START = """
import asyncio, sys
from pathlib import Path
from gateway.store.sqlite.migrations import Upgrade
from gateway.store.sqlite.store import SqliteStore

def told(event, **facts):
    print(event, facts.get("schema"), flush=True)
    sys.stdin.readline()

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), 1e6, Upgrade(scripts=tuple(sys.argv[2:]), told=told))
    await store.close()
    print("opened", flush=True)

asyncio.run(main())
"""
STEPS = ["store.backing_up 1", "store.upgrading 2", "store.upgrading 3", "store.upgraded 3"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that the first version wrote."""
    path = tmp_path / "gateway.db"
    writing.load(Path(__file__).parent / "written" / "0001.sql", path)
    return path


async def opened(path: Path, *more: str, min_free: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Open and close a database with the first schema and these scripts. Returns the events that were reported."""
    told: list[tuple[str, dict[str, Any]]] = []
    upgrade = Upgrade(scripts=(*FIRST, *more), min_free=min_free, told=lambda event, **facts: told.append((event, facts)))
    store = await SqliteStore.open(path, RETENTION, upgrade)
    await store.close()
    return told


def version(path: Path) -> int:
    return int(one(path, "PRAGMA user_version"))


def kept(path: Path) -> list[list[tuple[Any, ...]]]:
    """Read the rows that the first version wrote, as far as they exist."""
    columns = "seq, id, sender_id, body, status"
    tables = (f"SELECT {columns} FROM messages", *(f"SELECT * FROM {table}" for table in ("deliveries", "attempts", "threads")))
    return [rows(path, f"{query} ORDER BY 1, 2") for query in tables]


def test_no_script_that_was_released_is_edited() -> None:
    folder = resources.files("gateway.store.sqlite") / "schema"
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".sql")}
    assert {name: hashlib.sha256(script).hexdigest() for name, script in found.items()} == RELEASED
    assert [int(name[:4]) for name in sorted(found)] == list(range(1, len(found) + 1))


class TestTheUpgrade:
    async def test_an_upgrade_keeps_every_row_and_makes_a_backup_first(self, path: Path) -> None:
        before = kept(path)
        told = await opened(path, COLUMN, TABLE)
        assert {each.name for each in path.parent.iterdir()} >= {"gateway.db", "gateway.db.lock", "gateway.db.schema-1"}
        assert not [each for each in path.parent.iterdir() if "partial" in each.name]
        assert version(path) == 3 and kept(path) == before
        assert rows(path, "SELECT DISTINCT colour FROM messages") == [("red",)]
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        backup = backup_before(path, 1)
        assert version(backup) == 1 and kept(backup) == before and backup.stat().st_mode & 0o777 == 0o600
        assert [f"{event} {facts['schema']}" for event, facts in told] == STEPS
        assert told[0][1]["file"] == str(backup) and "delete" in told[0][1]["do"]

    async def test_an_upgrade_is_made_once(self, path: Path) -> None:
        await opened(path, COLUMN)
        backup_before(path, 1).unlink()
        assert await opened(path, COLUMN) == [] and not backup_before(path, 1).exists()

    async def test_a_new_database_is_not_upgraded(self, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        assert await opened(path, COLUMN) == []
        assert version(path) == 2 and not backup_before(path, 0).exists() and not backup_before(path, 1).exists()

    async def test_rows_that_a_crash_left_in_the_log_are_upgraded_and_backed_up_too(self, path: Path) -> None:
        await opened(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM messages WHERE seq = 4")
            connection.commit()
            crashed = crash_copy(path, path.parent / "crashed")
        await opened(crashed, COLUMN)
        assert version(crashed) == 2
        for file in (crashed, backup_before(crashed, 1)):
            assert one(file, "SELECT count(*) FROM messages WHERE seq = 4") == 0

    async def test_the_backup_of_an_earlier_upgrade_is_replaced(self, path: Path) -> None:
        """If a database is upgraded, restored, used for a week and upgraded again, the way back must keep that week."""
        backup = backup_before(path, 1)
        await opened(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            backup.write_bytes(path.read_bytes())
            connection.execute("UPDATE messages SET duplicates = 77")
        await opened(path, COLUMN)
        assert rows(backup, "SELECT DISTINCT duplicates FROM messages") == [(77,)]

    async def test_without_room_for_the_backup_an_upgrade_is_refused_and_says_what_to_do(self, path: Path) -> None:
        await opened(path)
        before = files(path)
        with pytest.raises(StoreFailed, match=r"Nothing was changed") as refused:
            await opened(path, COLUMN, min_free=1 << 60)
        assert refused.value.exit_code == 74 and "make room" in str(refused.value) and "needs 2" in str(refused.value)
        assert files(path) == before and not backup_before(path, 1).exists()
        await opened(path, COLUMN)
        assert version(path) == 2

    async def test_a_failed_script_leaves_no_change_and_is_tried_again(self, path: Path) -> None:
        before = kept(path)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            await opened(path, COLUMN, BROKEN)
        assert version(path) == 2 and kept(path) == before  # the step before it is a transaction of its own
        assert rows(path, "SELECT 1 FROM sqlite_schema WHERE name = 'half'") == []
        await opened(path, COLUMN, TABLE)
        assert version(path) == 3 and version(backup_before(path, 2)) == 2 and version(backup_before(path, 1)) == 1


class TestKilled:
    @pytest.mark.parametrize("step", range(4))
    async def test_an_upgrade_killed_between_two_steps_goes_on_at_the_next_start(self, path: Path, step: int) -> None:
        before = kept(path)
        with process(START, path, *FIRST, COLUMN, TABLE) as upgrading:
            for told in STEPS[:step]:
                assert line(upgrading) == told
                go_on(upgrading)
            assert line(upgrading) == STEPS[step]
            upgrading.kill()
            upgrading.wait()
        assert version(path) == (1, 1, 2, 3)[step] and kept(path) == before
        await self.goes_on(path, before)

    async def test_an_upgrade_killed_within_a_script_goes_on_at_the_next_start(self, path: Path) -> None:
        before = kept(path)
        with process(START, path, *FIRST, LONG) as upgrading:
            for told in STEPS[:2]:
                assert line(upgrading) == told
                go_on(upgrading)
            log = Path(f"{path}-wal")
            await until(lambda: log.exists() and log.stat().st_size > 5_000_000, HANG)
            upgrading.kill()
            upgrading.wait()
        assert version(path) == 1 and kept(path) == before
        assert rows(path, "SELECT 1 FROM sqlite_schema WHERE name = 'filler'") == []
        await self.goes_on(path, before)

    async def test_an_upgrade_killed_within_its_backup_goes_on_at_the_next_start(self, tmp_path: Path) -> None:
        path = tmp_path / "big.db"
        await fill(path, 20_000, body=b"x" * 4000)
        set_version(path, 1)
        partial = unfinished(path, path.parent)
        with process(START, path, *FIRST, COLUMN, TABLE) as upgrading:
            assert line(upgrading) == STEPS[0]
            go_on(upgrading)
            await until(lambda: partial.exists() and partial.stat().st_size > 1_000_000, HANG)
            upgrading.kill()
            upgrading.wait()
        assert version(path) == 1 and not backup_before(path, 1).exists() and partial.exists()
        await self.goes_on(path, kept(path))

    async def goes_on(self, path: Path, before: object) -> None:
        """Check that the next start completes the upgrade, with a complete backup and no partial file."""
        await opened(path, COLUMN, TABLE)
        assert version(path) == 3 and kept(path) == before and rows(path, "PRAGMA integrity_check") == [("ok",)]
        copies = [each for each in path.parent.iterdir() if ".schema-" in each.name]
        assert copies and all(kept(copy) == before and f"{path}.schema-{version(copy)}" == str(copy) for copy in copies)


class TestTheWayBack:
    async def test_an_older_version_refuses_the_database_and_names_steps_that_bring_the_backup_back(
        self, path: Path, run: Callable[[str], None]
    ) -> None:
        path.with_name("its folder").mkdir()
        path = path.rename(path.with_name("its folder") / path.name)
        await opened(path, COLUMN, TABLE)
        before = files(path)
        with pytest.raises(StoreCorrupt, match="schema 3, and this version of the gateway knows 1 at most") as refused:
            await opened(path)
        assert refused.value.exit_code == 65 and files(path) == before
        run(str(refused.value))
        assert await opened(path) == []
        assert version(path) == 1 and kept(path) == kept(backup_before(path, 1))
        newer = path.with_name("gateway.db.newer")
        assert await opened(newer, COLUMN, TABLE) == [] and version(newer) == 3

    async def test_the_steps_also_move_the_log_that_a_crash_of_the_newer_version_left(
        self, path: Path, run: Callable[[str], None]
    ) -> None:
        await opened(path, COLUMN)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE messages SET colour = 'blue'")
            connection.commit()
            crashed = crash_copy(path, path.parent / "crashed")
        backup_before(path, 1).rename(backup_before(crashed, 1))
        path = crashed
        with pytest.raises(StoreCorrupt) as refused:
            await opened(path)
        run(str(refused.value))
        assert await opened(path) == [] and version(path) == 1
        assert rows(path.with_name("gateway.db.newer"), "SELECT DISTINCT colour FROM messages") == [("blue",)]

    async def test_a_newer_database_without_its_backup_is_refused_with_the_advice_to_restore_one(self, path: Path) -> None:
        await opened(path)
        set_version(path, 9)
        with pytest.raises(StoreCorrupt, match="restore a backup"):
            await opened(path)


@pytest.fixture
def run() -> Iterator[Callable[[str], None]]:
    """Runs the shell commands that a refusal names, exactly as written."""

    def run(refusal: str) -> None:
        found = re.search(r"stopped: (.*); start it$", refusal)
        assert found, refusal
        for command in found[1].replace(" (if there is one)", "").split("; "):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            assert done.returncode == 0 or "-wal" in command, done.stderr

    yield run


class TestARestoredBackup:
    async def test_a_backup_restored_beside_the_old_write_ahead_log_is_refused_and_left_alone(
        self, path: Path, tmp_path: Path
    ) -> None:
        await opened(path)
        backup = path.read_bytes()  # a backup's header says that there is no write-ahead log
        backup = backup[:18] + b"\1\1" + backup[20:]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM deliveries")
            connection.commit()
            path = crash_copy(path, tmp_path / "crashed")
        path.write_bytes(backup)
        before = files(path)
        with pytest.raises(StoreCorrupt, match=r"move gateway\.db-wal and gateway\.db-shm away"):
            await opened(path)
        assert files(path) == before
        Path(f"{path}-wal").unlink()
        Path(f"{path}-shm").unlink(missing_ok=True)
        await opened(path)
        assert one(path, "SELECT count(*) FROM deliveries") > 10
