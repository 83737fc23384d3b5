"""A backup or a check ends early if messages need the room, if the gateway stops, or if its caller leaves."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from gateway.control.database_jobs import DatabaseJobs
from gateway.core.errors import BackupFailed, DatabaseJobBusy
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import RESERVE
from gateway.store.sqlite.backup import unfinished
from gateway.store.sqlite.long_read import LongReadThread
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import fill, serving
from tests.support.waiting import until

MANY = 20_000


class Bench:
    """A large database, a disk whose room the test decides, and the jobs that read the whole of it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.room = 10 * RESERVE
        self.file = store.path.with_name("backup.db")
        self.log = LogCapture()
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[self.log])
        self.folder_is_gone = False
        self.space = DiskSpace(self._free, 0, Metrics(), log)
        audit = AuditLog(store.path.with_name("audit.jsonl"), Clock(), log)
        self.database_jobs = DatabaseJobs(store=store, space=self.space, audit=audit, clock=Clock(), log=log)

    def _free(self) -> int:
        if self.folder_is_gone:
            raise FileNotFoundError(2, "No such file or directory")
        return self.room

    @property
    def copying(self) -> bool:
        partial = unfinished(self.store.path, self.file.parent)
        return partial.exists() and partial.stat().st_size > 0

    def left(self) -> list[str]:
        return [each.name for each in self.file.parent.iterdir() if "backup" in each.name or "partial" in each.name]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "gateway.db"
    asyncio.run(fill(path, MANY, body=b"x" * 4000))
    return path


@pytest.fixture
async def bench(tmp_path: Path, large: Path) -> AsyncIterator[Bench]:
    shutil.copy(large, tmp_path)
    async with serving(tmp_path / large.name) as store:
        yield Bench(store)


@pytest.mark.parametrize("room", [10 * RESERVE, RESERVE // 4])
async def test_a_disk_that_gets_nearly_full_ends_the_backup_before_messages_are_refused(bench: Bench, room: int) -> None:
    bench.room = room

    def shrinks() -> bool:
        bench.room = RESERVE // 16 if bench.copying else bench.room
        return True

    with pytest.raises(BackupFailed, match="messages come first"):
        await bench.database_jobs.backup(bench.file, shrinks, "ann")
    assert bench.left() == []
    assert [(entry["event"], entry["log_level"]) for entry in bench.log.entries] == [("store.backup_failed", "warning")]


@pytest.mark.parametrize("room", [1, -1])
async def test_a_backup_to_another_disk_is_made_even_if_the_disk_of_the_database_is_nearly_full(bench: Bench, room: int) -> None:
    bench.room = room
    assert (await bench.database_jobs.backup(bench.file, lambda: True, "ann")).messages == MANY


async def test_a_disk_whose_free_space_is_unknown_ends_no_backup(bench: Bench) -> None:
    """The store finds out whether the folder is still there."""
    bench.space.step()
    bench.folder_is_gone = True
    assert (await bench.database_jobs.backup(bench.file, lambda: True, "ann")).messages == MANY
    assert (await bench.database_jobs.check(lambda: True)).damage == []


async def test_work_that_cannot_begin_is_not_under_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises RuntimeError if the system starts no further thread."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            await bench.database_jobs.check(lambda: True)
    assert (await bench.database_jobs.check(lambda: True)).damage == []


@pytest.mark.parametrize("why", ["the gateway is stopping", "who asked for it has gone"])
async def test_a_stop_or_a_caller_who_leaves_ends_the_backup(bench: Bench, why: str) -> None:
    def wanted() -> bool:
        if bench.copying and "stopping" in why:
            bench.database_jobs.stop()
        return not bench.copying or "stopping" in why

    with pytest.raises(BackupFailed, match=why):
        await bench.database_jobs.backup(bench.file, wanted, "ann")
    assert bench.left() == []
    if "stopping" in why:
        with pytest.raises(BackupFailed, match=why):
            await bench.database_jobs.check(lambda: True)
    else:
        assert (await bench.database_jobs.backup(bench.file, lambda: True, "ann")).messages == MANY


async def test_a_cancelled_backup_has_ended_before_the_cancellation_goes_on(bench: Bench) -> None:
    asked = asyncio.create_task(bench.database_jobs.backup(bench.file, lambda: True, "ann"))
    await until(lambda: bench.copying)
    with pytest.raises(DatabaseJobBusy, match="under way"):
        await bench.database_jobs.check(lambda: True)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert bench.left() == []


async def test_a_disk_that_hangs_delays_no_other_work(tmp_path: Path) -> None:
    await fill(tmp_path / "gateway.db", 1)
    back = threading.Event()
    hanging = LongReadThread(tmp_path / "gateway.db", lambda connection: back.wait(60))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await hanging.end()
    assert loop.time() - begun < 5.0 and not hanging.ended.done()
    back.set()
    assert await hanging.ended
