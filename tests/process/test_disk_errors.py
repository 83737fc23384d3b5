"""A failing disk or a damaged page ends the gateway with an exit code that names the cause. A lock only causes refusals."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.process.disk_sender import Sender, all_delivered_once, is_ready, reasons, refused
from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.tracing import trace, traced
from tests.support.waiting import until
from tests.support.webhooks import event


async def test_a_failed_fsync_ends_the_gateway_with_74_and_nothing_is_acknowledged_after_it(
    strace: str, tmp_path: Path, receiver: Receiver
) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running, alive=False):
        sender = Sender(running)
        for _ in range(5):
            assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert running.process is not None
        command = [strace, "-f", "-o", str(tmp_path / "strace.log"), "-e", "trace=fdatasync,fsync"]
        command += ["-e", "inject=fdatasync,fsync:error=EIO", "-p", str(running.process.pid)]
        tracer = trace(command)
        try:
            await until(lambda: traced(running))
            answers = await asyncio.gather(*(running.post(event()) for _ in range(20)), return_exceptions=True)
            assert await running.exit_code() == 74
        finally:
            tracer.kill()
            tracer.wait(60)
        assert "INJECTED" in (tmp_path / "strace.log").read_text()
        for answer in answers:  # the connection may have ended before the answer, or before the question
            assert isinstance(answer, OSError) or (isinstance(answer, Answer) and refused(answer)), answer
        assert "the disk can't be trusted any more" in running.stderr()
        await asyncio.to_thread(running.start)
        assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert sender.ids() <= {message for (message,) in running.rows("SELECT id FROM messages")}
        assert Counter(request.body for request in receiver.requests) | dict.fromkeys(sender.bodies.values(), 1) == Counter(
            request.body for request in receiver.requests
        )


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
async def test_an_error_of_the_main_file_ends_the_gateway_with_74_and_loses_no_commit(
    strace: str, tmp_path: Path, receiver: Receiver, call: str
) -> None:
    """Commits go to the write-ahead log; the main file is written when the log is long. SQLite's own hook hides such an error."""
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running, alive=False):
        assert running.process is not None
        command = [strace, "-f", "-o", str(tmp_path / "strace.log"), "-P", str(running.database), "-e", f"trace={call}"]
        command += ["-e", f"inject={call}:error=EIO", "-p", str(running.process.pid)]
        tracer = trace(command)
        promised = []
        try:
            await until(lambda: traced(running))
            for _ in range(
                200
            ):  # three times the length that causes a checkpoint: the body of such a message alone takes many pages
                try:
                    answer = await running.post(event(padding="x" * 250_000))
                except OSError:
                    break
                if answer.status != 200:
                    assert refused(answer)
                    break
                promised.append(answer.json()["id"])
            assert await running.exit_code() == 74
        finally:
            tracer.kill()
            tracer.wait(60)
        assert "INJECTED" in (tmp_path / "strace.log").read_text()
        assert "the disk can't be trusted any more" in running.stderr()
        frames = running.database.with_name("gateway.db-wal").stat().st_size // (24 + 4096)
        assert 4000 <= frames < 4200 and 40 < len(promised) < 67, "it failed as the log was moved, and not before"
        await asyncio.to_thread(running.start)
        assert {message for (message,) in running.rows("SELECT id FROM messages")} >= set(promised)
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert running.rows("PRAGMA integrity_check") == [("ok",)]


async def test_a_database_that_another_process_locks_is_answered_503_until_it_lets_go(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running):
        sender = Sender(running)
        assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        receiver.hold()
        assert (await sender.post()).status == 200
        await until(lambda: len(receiver.requests) == 2)
        with closing(sqlite3.connect(running.database, isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            receiver.release()  # the outcome of the delivery waits for the lock, too
            answers = await asyncio.gather(*(sender.post() for _ in range(10)))
            assert all(refused(answer) for answer in answers)
            assert "locked" in await reasons(running) and (await running.admin("/-/healthy")).status == 200
            other.execute("ROLLBACK")
            await sender.again_until_taken()
            await is_ready(running)
            await all_delivered_once(running, receiver, sender)


async def test_a_damaged_page_in_the_middle_ends_a_serving_process_with_65(tmp_path: Path, receiver: Receiver) -> None:
    """A page of an index, which start does not read: the quick_check beside serving finds it."""
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        bodies = [event() for _ in range(600)]
        places = asyncio.Semaphore(50)

        async def post(body: bytes) -> int:
            async with places:
                return (await running.post(body)).status

        assert set(await asyncio.gather(*(post(body) for body in bodies))) == {200}
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert await running.stop() == 0  # everything is in the file now, and nothing in the WAL
        await asyncio.to_thread(running.start)
        running.kill()
        leaf = leaf_of(running)
        with running.database.open("r+b") as file:
            file.seek(leaf * 4096)
            file.write(os.urandom(4096))
        running.launch()
        assert await running.exit_code() == 65
        said = running.stderr()
        assert "quick_check" in said and "gateway.started" in said and "Traceback" not in said, said


def leaf_of(running: Running) -> int:
    """The number, from 0, of a page in the middle of those that are leaves of an index (type 10), and neither a root nor the
    first leaf, of which start reads a row (sqlite.org/fileformat2.html, section 1.6)."""
    with closing(sqlite3.connect(f"{running.database.as_uri()}?mode=ro", uri=True)) as connection:
        roots = [root - 1 for (root,) in connection.execute("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")]
    file = running.database.read_bytes()
    pages = [file[at : at + 4096] for at in range(0, len(file), 4096)]
    first = set()
    for page in roots:
        while pages[page][0] == 2:  # of an index, with pages below it
            cell = int.from_bytes(pages[page][12:14], "big")
            page = int.from_bytes(pages[page][cell : cell + 4], "big") - 1
        first.add(page)
    leaves = [number for number, page in enumerate(pages) if page[0] == 10 and number not in first]
    assert len(leaves) >= 3, "no index has leaves of its own"
    return leaves[len(leaves) // 2]


@pytest.mark.parametrize("damage", ["the header", "the root of a table"])
async def test_a_file_that_is_damaged_at_start_is_refused_with_65_and_left_alone_with_its_wal(
    tmp_path: Path, receiver: Receiver, damage: str
) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        for _ in range(30):
            assert (await running.post(event(reference_id="x" * 2000))).status == 200
        assert await running.stop() == 0
        await asyncio.to_thread(running.start)
        assert (await running.post(event())).status == 200
        running.kill()
        with closing(sqlite3.connect(f"{running.database.as_uri()}?mode=ro", uri=True)) as connection:
            (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()
        wal = running.database.with_name("gateway.db-wal")
        if damage == "the root of a table":
            wal.unlink()  # it holds a good copy of that page
        else:
            assert wal.stat().st_size > 0
        with running.database.open("r+b") as file:
            file.seek(0 if damage == "the header" else (root - 1) * 4096)
            file.write(b"Not SQLite at al" if damage == "the header" else b"\xff" * 4096)
        files = [path for path in (running.database, wal) if path.exists()]
        before = [path.read_bytes() for path in files]
        running.launch()
        assert await running.exit_code() == 65
        assert [path.read_bytes() for path in files] == before
        said = running.stderr().splitlines()[-1]
        assert said.startswith("gateway: error: ") and "left as it is" in said, said
