"""The lock of a database, the ends of its holders, and the content after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from gateway.core.errors import StoreCorrupt, StoreLocked
from gateway.store.sqlite import integrity
from gateway.store.sqlite.migrations import scripts
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import (
    HANG,
    RETENTION,
    accepted,
    assert_counters_right,
    counted,
    crash_copy,
    go_on,
    line,
    new,
    one,
    opened_and_closed,
    process,
    refusal,
    rows,
    serving,
    set_version,
)

pytestmark = pytest.mark.usefixtures("threads_ended")
HOLD = """
import asyncio, sys
from pathlib import Path
from gateway.store.sqlite.store import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), 1e6)
    print("open", store.after_unclean_end, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()
    print("closed", flush=True)

asyncio.run(main())
"""
ACCEPT = """
import asyncio, sys
from pathlib import Path
from gateway.core.outcome import Delivered
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import new, settlement

async def client(store, name):
    number = 0
    while True:
        sender_id = f"{name}-{number}"
        message = new(sender_id, sinks=("erp", "slack"))
        seq = (await store.accept(message)).seq
        print("accepted", sender_id, flush=True)
        if number % 2:
            await store.settle(settlement(seq, Delivered(200)))
            print("settled", sender_id, flush=True)
        number += 1

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), 1e6)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        for name in "abcdefgh":
            tasks.create_task(client(store, name))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


class TestTheLock:
    async def test_a_second_process_is_refused_and_told_who_holds_it(self, path: Path) -> None:
        with process(HOLD, path) as holder:
            assert line(holder) == "open False"
            refused = await refusal(path, StoreLocked)
            assert refused.exit_code == 73
            assert f"pid {holder.pid})" in str(refused)
            assert str(holder.pid) in str(
                await refusal(path, StoreLocked)
            )  # the first refusal left the name of the holder in place

            go_on(holder)
            assert line(holder) == "closed"
            assert holder.wait() == 0
        assert not await opened_and_closed(path)

    async def test_a_second_opening_in_the_same_process_is_refused_too(self, path: Path) -> None:
        async with serving(path) as store:
            assert str(os.getpid()) in str(await refusal(path, StoreLocked))
            await accepted(store, new("msg_1"))

    async def test_the_lock_ends_with_its_holder_even_after_kill_9(self, path: Path) -> None:
        with process(HOLD, path) as holder:
            assert line(holder) == "open False"
            holder.send_signal(signal.SIGKILL)
            assert holder.wait() == -signal.SIGKILL
        async with serving(path) as store:
            await accepted(store, new("msg_1"))

    async def test_the_lock_file_stays_so_that_two_processes_never_lock_different_files(self, path: Path) -> None:
        lock = Path(f"{path}.lock")
        await opened_and_closed(path)
        first = lock.stat().st_ino
        await opened_and_closed(path)
        assert lock.stat().st_ino == first


class TestTheLastEnd:
    async def test_a_first_start_and_one_after_a_clean_end_find_no_unclean_end(self, path: Path) -> None:
        assert not await opened_and_closed(path)
        assert not await opened_and_closed(path)

    async def test_an_unclean_end_is_found_once(self, path: Path) -> None:
        await opened_and_closed(path, clean=False)
        assert await opened_and_closed(path)
        assert not await opened_and_closed(path)

    async def test_a_kill_9_is_found_as_an_unclean_end(self, path: Path) -> None:
        with process(HOLD, path) as holder:
            line(holder)
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        assert await opened_and_closed(path)
        assert not await opened_and_closed(path)

    async def test_a_refused_start_does_not_hide_an_unclean_end(self, path: Path) -> None:
        await opened_and_closed(path, clean=False)
        set_version(path, 99)
        for _ in range(2):
            await refusal(path, StoreCorrupt)
        set_version(path, len(scripts()))
        assert await opened_and_closed(path)

    async def test_a_refused_start_is_not_an_unclean_end(self, path: Path) -> None:
        await opened_and_closed(path)
        set_version(path, 99)
        await refusal(path, StoreCorrupt)
        set_version(path, len(scripts()))
        assert not await opened_and_closed(path)

    async def test_a_start_refused_by_the_lock_does_not_make_the_end_of_its_holder_unclean(self, path: Path) -> None:
        async with serving(path):
            await refusal(path, StoreLocked)
        assert not await opened_and_closed(path)


async def test_after_kill_9_everything_acknowledged_is_there(path: Path) -> None:
    promised: dict[str, set[str]] = {"accepted": set(), "settled": set()}
    with process(ACCEPT, path) as gateway:
        for _ in range(400):
            what, sender_id = line(gateway).split()
            promised[what].add(sender_id)
        gateway.send_signal(signal.SIGKILL)
        while told := line(gateway):  # the rest of its output before it died
            what, _, sender_id = told.partition(" ")
            promised[what].add(sender_id)
        gateway.wait()
    assert min(map(len, promised.values())) > 50

    async with serving(path) as store:
        assert store.after_unclean_end
        await store.quick_check()
        kept = {sender_id.decode(): seq for seq, sender_id in rows(path, "SELECT seq, sender_id FROM messages")}
        assert promised["accepted"] <= kept.keys()
        assert rows(path, "SELECT message FROM deliveries GROUP BY message HAVING count(*) <> 2") == []
        assert one(path, "SELECT count(*) FROM deliveries") == 2 * len(kept)
        delivered = {seq for (seq,) in rows(path, "SELECT message FROM deliveries WHERE sink = 'erp' AND state = 'delivered'")}
        assert {kept[sender_id] for sender_id in promised["settled"]} <= delivered
        await assert_counters_right(store)
        assert counted(path)["erp"].delivered == len(delivered)
        assert len((await store.claim("erp", START, 10_000, ())).owed) == len(kept) - len(delivered)


async def test_acknowledged_messages_are_in_the_write_ahead_log_without_a_close(path: Path, tmp_path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1", body=b"kept"))
        copy = crash_copy(path, tmp_path / "after the crash")
    async with serving(copy) as store:
        assert store.after_unclean_end
        assert one(copy, "SELECT body FROM messages") == b"kept"


async def test_a_truncated_lock_file_hides_no_unclean_end(path: Path, tmp_path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
        copy = crash_copy(path, tmp_path / "after the crash")
    copy.with_name(copy.name + ".lock").write_bytes(b"")
    async with serving(copy) as store:
        assert store.after_unclean_end and store.unchecked


class TestTheLongLook:
    async def test_a_cancelled_long_check_ends_at_once_and_the_next_start_makes_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = threading.Event()

        def endless(connection: sqlite3.Connection) -> str:
            begun.set()
            many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000000) SELECT max(i) FROM n"
            return str(connection.execute(many).fetchone())

        await opened_and_closed(path, clean=False)
        store = await SqliteStore.open(path, RETENTION)
        try:
            assert store.after_unclean_end and store.unchecked
            with monkeypatch.context() as slow:
                slow.setattr(integrity, "quick_check", endless)
                checking = asyncio.create_task(store.quick_check())
                await asyncio.to_thread(begun.wait, HANG)
                checking.cancel()
                done, _ = await asyncio.wait((checking,), timeout=HANG)
                assert done and checking.cancelled()
            assert store.unchecked
        finally:
            await store.close()

        assert await owed(path)
        assert await owed(path, pay=True)
        assert not await owed(path)

    async def test_a_refused_start_leaves_the_long_check_to_the_next_one(self, path: Path) -> None:
        await opened_and_closed(path, clean=False)
        assert await opened_and_closed(path)
        set_version(path, 99)
        await refusal(path, StoreCorrupt)
        set_version(path, len(scripts()))
        assert await owed(path)


async def owed(path: Path, *, pay: bool = False) -> bool:
    """Return True if the long check still has to be made at a start after a clean end; make it now if asked to."""
    store = await SqliteStore.open(path, RETENTION)
    try:
        assert not store.after_unclean_end
        unchecked = store.unchecked
        if pay:
            await store.quick_check()
    finally:
        await store.close()
    return unchecked
