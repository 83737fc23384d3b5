"""A gateway whose database, write-ahead log, lock or folder is taken away ends with 74 and acknowledges nothing more."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.configurations import route
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event

SINK = '[sinks.archive]\ntype = "jsonl"\npath = "../events.jsonl"\n'
PLACES = '[store]\npath = "state/gateway.db"\n[audit]\npath = "audit.jsonl"\n'


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """A gateway that has not started, with its database in a folder of its own."""
    (tmp_path / "state").mkdir()
    running = Running(tmp_path, PLACES + SINK.replace("../", "") + route("archive"))
    running.database = tmp_path / "state" / "gateway.db"
    return running


def beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def copy_of(database: Path) -> Path:
    """A backup from some time ago, made as an operator would."""
    copy = database.parent.parent / "backup.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    return copy


def replaced(path: Path) -> None:
    """Replace a file by a copy of itself, which has another inode."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def all_removed(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".lock"):
        beside(database, suffix).unlink()


def folder_renamed(database: Path) -> None:
    database.parent.rename(database.parent.with_name("old"))


def folder_renamed_and_made_anew(database: Path) -> None:
    folder_renamed(database)
    database.parent.mkdir()


def folder_mounted_over(database: Path) -> None:
    command = ["mount", "-t", "tmpfs", "none", str(database.parent)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


ACTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "the database is removed": (lambda database: database.unlink(), "gateway.db was removed"),
    "the database is renamed": (lambda database: database.rename(database.with_name("old")), "gateway.db was removed"),
    "the database is replaced": (replaced, "gateway.db was replaced"),
    "a backup is copied over it": (lambda database: shutil.copyfile(copy_of(database), database), "gateway.db was written to"),
    "a backup is moved over it": (lambda database: copy_of(database).replace(database), "gateway.db was replaced"),
    "the database is cut": (lambda database: os.truncate(database, 0), "gateway.db was written to"),
    "the database is cut in half": (cut_in_half, "gateway.db was written to"),
    "the log is removed": (lambda database: beside(database, "-wal").unlink(), "gateway.db-wal was removed"),
    "the log is replaced": (lambda database: replaced(beside(database, "-wal")), "gateway.db-wal was replaced"),
    "the log is cut": (lambda database: os.truncate(beside(database, "-wal"), 0), "gateway.db-wal was cut"),
    "the log is cut in half": (lambda database: cut_in_half(beside(database, "-wal")), "gateway.db-wal was cut"),
    "the index of the log is cut": (lambda database: os.truncate(beside(database, "-shm"), 0), "gateway.db-shm was cut"),
    "the index of the log is cut in half": (lambda database: cut_in_half(beside(database, "-shm")), "gateway.db-shm was cut"),
    "the index of the log is removed": (lambda database: beside(database, "-shm").unlink(), "gateway.db-shm was removed"),
    "the lock is removed": (lambda database: beside(database, ".lock").unlink(), "gateway.db.lock was removed"),
    "the lock is cut": (lambda database: os.truncate(beside(database, ".lock"), 0), "gateway.db.lock was cut"),
    "everything is removed": (all_removed, "was removed"),
    "the folder is renamed": (folder_renamed, "was removed"),
    "the folder is renamed and made anew": (folder_renamed_and_made_anew, "was removed"),
    "the folder is removed": (lambda database: shutil.rmtree(database.parent), "was removed"),
    "the folder is mounted over": (folder_mounted_over, "was removed"),
}


@pytest.mark.parametrize("load", [False, True], ids=["idle", "under load"])
@pytest.mark.parametrize("act", ACTS)
async def test_a_gateway_whose_files_are_taken_away_acknowledges_nothing_more_and_ends_with_74(
    running: Running, act: str, load: bool
) -> None:
    do, said = ACTS[act]
    with running, no_traceback(running, alive=False):
        try:
            acked: list[str] = []
            answers = 0
            over = asyncio.Event()

            async def send() -> None:
                nonlocal answers
                while not over.is_set():
                    with suppress(OSError, asyncio.IncompleteReadError):
                        answer = await running.post(event())
                        answers += 1
                        if answer.status == 200 and taken_away:
                            acked.append(answer.json()["id"])
                    await asyncio.sleep(0)

            taken_away = False
            assert (await running.post(event())).status == 200
            await until(lambda: running.audit("delivery.delivered"))
            sending = [asyncio.create_task(send()) for _ in range(4 if load else 0)]
            await until(lambda: answers >= 10 * len(sending))
            await asyncio.to_thread(do, running.database)
            taken_away = True
            assert await running.exit_code() == 74
            over.set()
            await asyncio.gather(*sending)
            assert said in running.stderr()
            # The index is mapped into memory: whichever notices first that it was cut, the process or the look at the files.
            advice = r"and start again|then start it again" if "index of the log is cut" in act else "and start again"
            assert re.search(advice, running.stderr())
            # Each of the four requests that were being answered may have been committed just before.
            within = 4 if "index" not in act and "lock" not in act else 1_000_000  # those two files hold no message
            assert len(acked) <= within
        finally:
            if act == "the folder is mounted over":
                unmount(running.database.parent)


@pytest.mark.parametrize("how", ["moved over", "copied over"])
async def test_a_backup_put_in_place_of_the_running_database_is_served_by_the_next_start(running: Running, how: str) -> None:
    """When the first gateway ends, it neither writes to the new file nor removes the files beside it."""
    with running:
        kept = (await running.post(event())).json()["id"]
        await until(lambda: running.audit("delivery.delivered"))
        copy = copy_of(running.database)
        image = copy.read_bytes()
        assert (await running.post(event())).status == 200
        if how == "moved over":
            copy.replace(running.database)
        else:
            shutil.copyfile(copy, running.database)
        assert await running.exit_code() == 74
        assert running.database.read_bytes() == image
        for suffix in ("-wal", "-shm"):  # the refusal says to do this with the log of the old database
            beside(running.database, suffix).unlink(missing_ok=True)
        await asyncio.to_thread(running.start)
        assert running.rows("SELECT id FROM messages") == [(kept,)]
        assert (await running.post(event())).status == 200


async def test_harmless_acts_on_the_files_do_not_end_the_gateway(running: Running) -> None:
    """Touch the database, change its mode, read it, and rotate the audit log."""
    with running:
        running.database.touch()
        running.database.chmod(0o640)
        running.rows("SELECT count(*) FROM messages")
        await until(running.audit_file.exists)
        running.audit_file.rename(running.audit_file.with_name("audit.jsonl.1"))
        for _ in range(3):
            await asyncio.sleep(0.5)
            assert (await running.post(event())).status == 200
        assert await running.stop() == 0
    assert sys.platform == "linux"
