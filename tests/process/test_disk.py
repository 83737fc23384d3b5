"""A disk that is full, nearly full, locked, failing or rotten: what was answered 200 survives, and the cause is named."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.small_disk import fill
from tests.support.tracing import trace, traced
from tests.support.waiting import until, until_answer
from tests.support.webhooks import event, new_id, signed

MIB = 1024 * 1024


class Sender:
    """Posts new messages, and sends again those that were not answered 200."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.bodies: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        """The last answer for each sender id."""

    async def post(self) -> Answer:
        sender_id = new_id()
        self.bodies[sender_id] = event(reference_id="x" * 3000)
        return await self.again(sender_id)

    async def again(self, sender_id: str) -> Answer:
        body = self.bodies[sender_id]
        self.answers[sender_id] = await self.running.post(body, signed(body, sender_id))
        return self.answers[sender_id]

    async def is_refused(self) -> None:
        """Post until one is refused."""
        for _ in range(2000):
            if (await self.post()).status != 200:
                return
        raise AssertionError("everything was taken")

    async def again_until_taken(self) -> None:
        """Send what was refused again, until each is taken."""
        for sender_id in [one for one, answer in self.answers.items() if answer.status != 200]:
            await until_answer(partial(self.again, sender_id), lambda answer: answer.status == 200)

    def ids(self) -> set[str]:
        assert all(answer.status == 200 for answer in self.answers.values())
        return {answer.json()["id"] for answer in self.answers.values()}


async def reasons(running: Running) -> str:
    ready = await running.admin("/-/ready")
    assert ready.status in (200, 503)
    return str(ready.json().get("reasons", "")) if ready.status == 503 else ""


async def is_ready(running: Running) -> None:
    """Wait until the gateway is ready."""
    await until_answer(lambda: reasons(running), lambda said: not said)


async def all_delivered_once(running: Running, receiver: Receiver, sender: Sender) -> None:
    await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
    kept = {bytes(sender_id).decode(): message for sender_id, message in running.rows("SELECT sender_id, id FROM messages")}
    assert kept.keys() == sender.bodies.keys() and set(kept.values()) == sender.ids()
    arrived = Counter(request.body for request in receiver.requests)
    assert arrived == dict.fromkeys(sender.bodies.values(), 1)
    assert running.rows("PRAGMA integrity_check") == [("ok",)]
    # The line of a delivery follows its commit.
    await until(lambda: {line["message_id"] for line in running.audit("delivery.delivered")} == set(kept.values()))
    for kind in ("message.accepted", "delivery.delivered"):
        assert Counter(line["message_id"] for line in running.audit(kind)) == dict.fromkeys(kept.values(), 1)


def refused(answer: Answer) -> bool:
    return (answer.outcome, answer.header("retry-after")) == ((503, "store_unavailable"), "5")


# --- room


async def test_while_the_disk_is_full_nothing_is_promised_and_all_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    toml = '[store]\nmin_free = "0B"\n' + http_sink(receiver, more="concurrency = 4") + route("erp")
    running = Running(small_disk, toml)
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        for _ in range(10):
            assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        receiver.hold()
        for _ in range(10):
            assert (await sender.post()).status == 200
        await until(lambda: len(receiver.requests) == 14)

        filler = fill(small_disk)
        await sender.is_refused()  # what SQLite had room for within its pages was rightly taken
        for _ in range(20):
            assert refused(await sender.post())
        assert "full" in await reasons(running) or "audit log" in await reasons(running)
        assert (await running.admin("/-/healthy")).status == 200
        receiver.release()  # four outcomes that can't be committed, and must not be forgotten
        await asyncio.sleep(1.5)  # longer than a lane waits between two tries
        assert len(receiver.requests) == 14 and running.alive  # the slots stay taken

        filler.unlink()
        await until(lambda: len(receiver.requests) >= 20)  # by itself, before anything is posted
        await is_ready(running)
        await sender.again_until_taken()
        await all_delivered_once(running, receiver, sender)


async def test_a_full_disk_that_holds_the_log_too_stops_the_gateway_for_no_longer_than_it_is_full(
    small_disk: Path, receiver: Receiver
) -> None:
    """stderr goes to a file on the same disk: log lines are lost, but the process lives on and keeps its promises."""
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    sender = Sender(running)
    with running:
        assert (await sender.post()).status == 200
        filler = fill(small_disk)
        await sender.is_refused()
        for _ in range(5):
            assert refused(await sender.post())
        filler.unlink()
        await sender.again_until_taken()
        await is_ready(running)
        await all_delivered_once(running, receiver, sender)
        assert await running.stop() == 0


async def test_a_gateway_without_work_is_ready_again_by_itself_when_the_full_disk_has_room(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    """A load balancer sends no webhook to a gateway that is not ready, so it must find out by itself that it can write."""
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        filler = fill(small_disk)
        await sender.is_refused()
        assert await reasons(running)
        filler.unlink()
        await is_ready(running)


async def test_a_kill_while_the_disk_is_full_loses_nothing(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        await asyncio.gather(*(sender.post() for _ in range(20)))
        filler = fill(small_disk)
        await sender.is_refused()
        running.kill()
        filler.unlink()
        await asyncio.to_thread(running.start)
        await sender.again_until_taken()
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert {message for (message,) in running.rows("SELECT id FROM messages")} == sender.ids()
        assert {request.body for request in receiver.requests} == set(sender.bodies.values())
        assert running.rows("PRAGMA integrity_check") == [("ok",)]


async def test_below_min_free_webhooks_are_refused_while_lanes_go_on(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    running = Running(small_disk, '[store]\nmin_free = "2MiB"\n' + http_sink(receiver, more="concurrency = 1") + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        receiver.hold()
        for _ in range(10):
            assert (await sender.post()).status == 200
        filler = fill(small_disk, leave=MIB)
        await until(lambda: "space.low" in running.stderr())
        assert refused(await sender.post())
        assert "store.min_free" in await reasons(running)
        receiver.release()
        await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == [(10,)])
        assert refused(await sender.post()) and len(receiver.requests) == 10
        filler.unlink()
        await is_ready(running)
        await sender.again_until_taken()
        await all_delivered_once(running, receiver, sender)
        assert running.stderr().count("space.low") == running.stderr().count("space.back") == 1


async def test_a_start_below_min_free_delivers_what_is_owed_and_takes_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """No disk has as much room as this `min_free` asks for, so this test needs no small one."""
    sinks = http_sink(receiver, more="concurrency = 1") + route("erp")
    running = Running(tmp_path, sinks)
    sender = Sender(running)
    with running, no_traceback(running):
        receiver.hold()
        for _ in range(5):
            assert (await sender.post()).status == 200
        running.kill()
        receiver.requests.clear()
        receiver.release()
        running.write_config('[store]\nmin_free = "900000GiB"\n' + sinks)
        running.launch()
        await until(running.is_listening)
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert len(receiver.requests) == 5
        assert refused(await sender.post()) and "store.min_free" in await reasons(running)
        assert running.rows("SELECT count(*) FROM messages") == [(5,)]


# --- a start without room


async def test_a_start_on_a_full_disk_says_so_and_loses_nothing(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        for _ in range(5):
            assert (await sender.post()).status == 200
        await until(lambda: len(running.audit("delivery.delivered")) == 5)
        assert await running.stop() == 0
        filler = fill(small_disk)
        for _ in range(2):
            await end_for_lack_of_room(running)
        filler.unlink()
        await asyncio.to_thread(running.start)
        assert (await sender.post()).status == 200
        await all_delivered_once(running, receiver, sender)


async def test_a_first_start_ever_on_a_full_disk_says_so(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    with running.stderr_file.open("w"), no_traceback(running, alive=False):
        filler = fill(small_disk)
        for _ in range(2):
            await end_for_lack_of_room(running)
        filler.unlink()
    with running, no_traceback(running):
        assert (await Sender(running).post()).status == 200


async def end_for_lack_of_room(running: Running) -> None:
    running.launch()
    assert await running.exit_code() == 74
    said = running.stderr().splitlines()[-1]
    assert said.startswith("gateway: error: ") and "the disk is full: make room" in said, said


# --- errors


async def test_an_fsync_that_fails_is_the_end_with_74_and_nothing_is_acknowledged_after_it(
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
async def test_an_error_of_the_main_file_is_the_end_with_74_and_takes_back_nothing(
    strace: str, tmp_path: Path, receiver: Receiver, call: str
) -> None:
    """Commits go to the write-ahead log; the file itself is written when that is long. SQLite's own hook would not say."""
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running, alive=False):
        assert running.process is not None
        command = [strace, "-f", "-o", str(tmp_path / "strace.log"), "-P", str(running.database), "-e", f"trace={call}"]
        command += ["-e", f"inject={call}:error=EIO", "-p", str(running.process.pid)]
        tracer = trace(command)
        promised = []
        try:
            await until(lambda: traced(running))
            for _ in range(200):  # thrice what makes the log long: of such a message the body alone takes many pages
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
            receiver.release()  # its outcome waits for the lock, too
            answers = await asyncio.gather(*(sender.post() for _ in range(10)))
            assert all(refused(answer) for answer in answers)
            assert "locked" in await reasons(running) and (await running.admin("/-/healthy")).status == 200
            other.execute("ROLLBACK")
            await sender.again_until_taken()
            await is_ready(running)
            await all_delivered_once(running, receiver, sender)


# --- rot


async def test_a_page_that_rotted_in_the_middle_ends_the_process_with_65_while_it_serves(
    tmp_path: Path, receiver: Receiver
) -> None:
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
        assert said.startswith("gateway: error: ") and ("left as it is" in said or "left as it was" in said), said
