"""The `jsonl` sink: one line per delivery, the body in it unchanged (docs/reference.md, "What a sink receives")."""

from __future__ import annotations

import asyncio
import errno
import gc
import itertools
import json
import os
import select
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.host.blocking import start_in_thread as begin
from gateway.sinks.base import Outgoing, Sink
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.jsonl.sink import render
from tests.fakes import START
from tests.sinks.bodies import EMBEDDED, KEYS, TEXTS
from tests.sinks.left_behind import drain, writers, written_to_the_end
from tests.sinks.sending import MESSAGE_ID, PATIENCE, SHORT, attempt, opened, outgoing, send
from tests.support.waiting import until


def parsed(line: bytes) -> dict[str, Any]:
    """Read a line as a reader would: one whole line with its end, in UTF-8, with each key once and in the documented order."""
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    pairs = json.loads(line.decode("utf-8"), object_pairs_hook=lambda pairs: pairs)
    assert [name for name, _ in pairs][:-1] == KEYS
    assert pairs[-1][0] in ("body", "body_text")
    value: dict[str, Any] = json.loads(line)
    return value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


async def test_each_sample_is_one_line_with_the_body_unchanged(payload: bytes, path: Path) -> None:
    delivery = outgoing(payload)
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        assert await send(sink, delivery) == Delivered()
    line = path.read_bytes()
    body = json.loads(payload)
    assert parsed(line) == {
        "v": 1,
        "time": "2026-02-25T06:13:20.000Z",
        "message_id": MESSAGE_ID,
        "sender_id": "msg_2f9b",
        "source": "legitmark",
        "event_type": body["event_type"],
        "milestone": delivery.milestone,
        "sr_uuid": body["sr_uuid"],
        "reference_id": body["reference_id"],
        "body": body,
    }
    assert line.endswith(b',"body":' + payload.strip() + b"}\n")


def test_the_time_is_when_the_message_was_received() -> None:
    assert START == 1_772_000_000.0, "the sample above was computed for it"


@pytest.mark.parametrize(("body", "embedded"), EMBEDDED, ids=[repr(body[:24]) for body, _ in EMBEDDED])
def test_json_stands_in_the_line_as_it_came(body: bytes, embedded: bytes | None) -> None:
    line = render(outgoing(body))
    parsed(line)
    assert line.endswith(b',"body":' + (body if embedded is None else embedded) + b"}\n")


@pytest.mark.parametrize(("body", "text"), TEXTS, ids=[repr(body[:24]) for body, _ in TEXTS])
def test_a_body_that_is_not_json_stands_in_the_line_as_text(body: bytes, text: str) -> None:
    value = parsed(render(outgoing(body)))
    assert value["body_text"] == text
    assert "body" not in value
    assert value["event_type"] is value["milestone"] is value["sr_uuid"] is value["reference_id"] is None


def test_a_message_without_a_sender_id_has_null_there() -> None:
    assert parsed(render(outgoing(sender_id=None)))["sender_id"] is None


def test_fields_of_the_wrong_type_are_null_in_the_head_and_kept_in_the_body() -> None:
    value = parsed(render(outgoing(b'{"event_type":1,"sr_uuid":[2],"reference_id":{"a":3}}')))
    assert (value["event_type"], value["sr_uuid"], value["reference_id"]) == (None, None, None)
    assert value["milestone"] == "unrecognized"
    assert value["body"] == {"event_type": 1, "sr_uuid": [2], "reference_id": {"a": 3}}


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_a_long_run_of_blanks_costs_no_more_than_its_length(blank: bytes) -> None:
    """The event loop waits for this work. For a body of 256 KiB, quadratic time would be minutes."""
    body = b'{"a":"' + b" " * 20_000 + b'"' + blank * 20_000 + b"}"
    started = time.thread_time()
    line = render(outgoing(body))
    assert time.thread_time() - started < 0.5
    assert line.endswith(b',"body":' + body + b"}\n")


async def test_lines_are_appended_to_an_existing_file(path: Path) -> None:
    path.write_bytes(b'{"earlier":1}\n')
    for _ in range(2):
        async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
            await send(sink)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    assert first == b'{"earlier":1}\n'
    assert len(rest) == 2
    for line in rest:
        parsed(line)


async def test_a_line_that_a_crash_left_torn_spoils_no_other(path: Path) -> None:
    path.write_bytes(b'{"v":1,"ti')
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await send(sink)
        await send(sink)
    torn, *rest = path.read_bytes().splitlines(keepends=True)
    assert torn == b'{"v":1,"ti\n'
    assert len(rest) == 2
    for line in rest:
        parsed(line)


async def test_sends_at_once_write_whole_lines(path: Path) -> None:
    bodies = [b'{"n":%d,"s":"%b"}' % (number, b"x" * 20_000) for number in range(50)]
    async with opened(JsonlConfig(path="events.jsonl", concurrency=16), path.parent) as sink:
        outcomes = await asyncio.gather(*(send(sink, outgoing(body)) for body in bodies))
    assert outcomes == [Delivered()] * 50
    lines = path.read_bytes().splitlines(keepends=True)
    assert sorted(parsed(line)["body"]["n"] for line in lines) == list(range(50))


@pytest.mark.parametrize("create", [True, False])
async def test_a_rotated_file_is_left_alone_and_a_new_one_written(create: bool, path: Path) -> None:
    rotated = path.with_suffix(".jsonl.1")
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await send(sink, outgoing(b'{"n":1}'))
        path.rename(rotated)
        if create:
            path.touch()
        await send(sink, outgoing(b'{"n":2}'))
        await send(sink, outgoing(b'{"n":3}'))
    assert [parsed(line)["body"]["n"] for line in rotated.read_bytes().splitlines(keepends=True)] == [1]
    assert [parsed(line)["body"]["n"] for line in path.read_bytes().splitlines(keepends=True)] == [2, 3]


async def test_a_truncated_file_is_written_from_its_start(path: Path) -> None:
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await send(sink, outgoing(b'{"n":1}'))
        os.truncate(path, 0)
        await send(sink, outgoing(b'{"n":2}'))
    assert parsed(path.read_bytes())["body"] == {"n": 2}


async def unavailable(sink: Sink) -> str:
    outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.UNAVAILABLE
    return outcome.detail


async def test_a_missing_folder_is_a_retry_until_it_exists(path: Path) -> None:
    async with opened(JsonlConfig(path="later/events.jsonl"), path.parent) as sink:
        assert "No such file or directory" in await unavailable(sink)
        assert "later/events.jsonl" in await unavailable(sink)
        (path.parent / "later").mkdir()
        assert await send(sink) == Delivered()
    parsed((path.parent / "later" / "events.jsonl").read_bytes())


async def test_a_folder_in_place_of_the_file_is_a_retry(path: Path) -> None:
    path.mkdir()
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await unavailable(sink)


async def test_a_full_disk_is_a_retry(path: Path) -> None:
    path.symlink_to("/dev/full")
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        assert "No space left" in await unavailable(sink)


async def started(task: asyncio.Future[Any]) -> None:
    """Let a send run up to its write, in which a thread then hangs."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()


def long_line(number: int) -> Outgoing:
    """A body that is larger than a FIFO takes at once."""
    return outgoing(b'{"n":%d,"s":"%b"}' % (number, b"xyz"[number % 3 : number % 3 + 1] * 400_000))


async def cut(sink: Sink, delivery: Outgoing) -> None:
    """Send up to the write and cancel it: the send has to end at once, even though its thread goes on."""
    sending = asyncio.create_task(sink.send(delivery))
    await started(sending)
    sending.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert sending.cancelled()


async def test_a_cancelled_write_is_not_mixed_with_the_next_one(path: Path, slow: int) -> None:
    """A cancelled write goes on in its thread. A second one must not write between its parts, so it becomes a retry."""
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await cut(sink, long_line(1))
        assert "an earlier write hangs" in await unavailable(sink)
        (first,) = await drain(slow, 1)
        await written_to_the_end()
        second = asyncio.create_task(sink.send(long_line(2)))
        (line,) = await drain(slow, 1)
        assert await asyncio.wait_for(second, PATIENCE) == Delivered()
    assert [parsed(first)["body"]["n"], parsed(line)["body"]["n"]] == [1, 2]


async def test_no_second_write_begins_while_a_write_hangs(path: Path, slow: int) -> None:
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        sending = asyncio.create_task(sink.send(long_line(1)))
        await started(sending)
        waiting = [asyncio.create_task(sink.send(long_line(2))) for _ in range(3)]
        await started(waiting[0])
        for send_again in (waiting[0], sending, waiting[1]):
            send_again.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError, Retry]
        for _ in range(5):
            await unavailable(sink)
            assert writers() == 1
        (line,) = await drain(slow, 1)
        await written_to_the_end()
    assert parsed(line)["body"]["n"] == 1


async def test_a_write_that_hangs_is_a_timeout_of_the_lane(path: Path, slow: int) -> None:
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        with pytest.raises(TimeoutError):
            await attempt(sink, SHORT)
        await drain(slow, 1)


async def test_closing_does_not_wait_for_a_write_that_hangs_and_leaves_it_its_descriptor(path: Path, slow: int) -> None:
    """If the descriptor were closed under the write, the rest of its line could go into another file with the same number."""
    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        sending = asyncio.create_task(sink.send(long_line(1)))
        await until(lambda: holders(path) == 2, PATIENCE)  # the test is one of them
        sending.cancel()
        for _ in range(2):
            closing = asyncio.create_task(sink.aclose())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert closing.done()
    assert writers() == 1
    assert sending.cancelled()
    assert holders(path) == 2
    (line,) = await drain(slow, 1)
    assert parsed(line)["body"]["n"] == 1
    await until(lambda: holders(path) == 1, PATIENCE)


async def test_a_write_that_raises_stop_iteration_is_reported_as_a_bug_and_hangs_nothing() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(begin(lambda: next(iter(())), "stops"), PATIENCE)


async def test_a_write_that_was_given_up_may_fail_without_a_report(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio logs an error that nothing has looked at, with a traceback."""
    release = threading.Event()

    def fail() -> None:
        release.wait(PATIENCE)
        raise OSError(errno.EIO, "the disk is gone")

    call = begin(fail, "jsonl")
    waiting = asyncio.ensure_future(asyncio.shield(call))
    await started(waiting)
    waiting.cancel()
    release.set()
    await until(call.done, PATIENCE)
    del call, waiting
    gc.collect()
    assert caplog.text == ""


def holders(path: Path) -> int:
    """Count the descriptors of this process that are open on a file."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return links.count(str(path))


# When a line counts as delivered.


class Disk:
    """A disk that records each request in order, and fails if a test tells it to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.fails: dict[str, OSError] = {}
        """The error of each step, which is raised once."""
        self.hold: threading.Event | None = None
        """The next wait for a file lasts until this event is set."""
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor: int, data: bytes) -> int:
        if data.startswith(b'{"v":1'):
            self._step("write")
        return self._write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if not folder and (hold := self.hold) is not None:
            self.hold = None
            hold.wait(PATIENCE)
        self._step("fsync folder" if folder else "fsync")
        self._fsync(descriptor)

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if (error := self.fails.pop(step, None)) is not None:
            raise error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


FIRST = ["write", "fsync", "fsync folder"]
EACH = ["write", "fsync"]


@pytest.mark.parametrize(
    ("fsync", "steps"),
    [
        ("never", ["write"] * 3),
        ("batch", [*FIRST, *EACH * 2]),
        ("always", [*FIRST, *EACH * 2]),
    ],
)
async def test_a_line_is_on_the_disk_before_it_counts_unless_fsync_is_never(
    fsync: Literal["never", "batch", "always"], steps: list[str], path: Path, disk: Disk
) -> None:
    async with opened(JsonlConfig(path="events.jsonl", fsync=fsync), path.parent) as sink:
        for _ in range(3):
            assert await send(sink) == Delivered()
    assert disk.steps == steps


async def sends(sink: Sink, disk: Disk, count: int) -> list[asyncio.Task[Outcome]]:
    """Begin several sends at once. If the disk is held, the first one is there and the others wait."""
    tasks = [asyncio.create_task(sink.send(outgoing(b'{"n":%d}' % number))) for number in range(count)]
    await until(lambda: disk.hold is None, PATIENCE)
    return tasks


async def test_lines_that_wait_for_the_disk_share_the_next_wait_for_it(path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=16), path.parent) as sink:
        tasks = await sends(sink, disk, 16)
        release.set()
        assert await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE) == [Delivered()] * 16
    assert disk.steps == ["write", "fsync", "fsync folder", *["write"] * 15, "fsync"]
    assert [parsed(line)["body"]["n"] for line in path.read_bytes().splitlines(keepends=True)] == list(range(16))


async def test_fsync_always_waits_for_each_line_by_itself(path: Path, disk: Disk) -> None:
    async with opened(JsonlConfig(path="events.jsonl", fsync="always", concurrency=16), path.parent) as sink:
        assert await asyncio.gather(*await sends(sink, disk, 8)) == [Delivered()] * 8
    assert disk.steps == ["write", "fsync", "fsync folder", *EACH * 7]


@pytest.mark.parametrize("step", ["fsync", "fsync folder"])
async def test_a_wait_for_the_disk_that_fails_makes_every_line_of_it_a_retry(step: str, path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        first, *others = await sends(sink, disk, 4)
        release.set()
        assert await first == Delivered()
        outcomes = await asyncio.gather(*others)
        assert outcomes == [Delivered()] * 3
        disk.fails[step] = OSError(errno.EIO, "Input/output error")
        if step == "fsync folder":
            path.rename(path.with_suffix(".1"))
        assert "not on the disk: Input/output error" in await unavailable(sink)
        assert await send(sink) == Delivered(), "the line is written once more, since the system may have dropped the first one"


async def test_a_full_disk_within_a_batch_keeps_the_lines_that_found_room(path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        first, second, third, fourth = await sends(sink, disk, 4)
        write, seen = disk.write, [b""]

        def full(descriptor: int, data: bytes) -> int:
            seen.append(data)
            if b'"n":2' in data:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", full)
            release.set()
            outcomes = await asyncio.wait_for(asyncio.gather(first, second, third, fourth), PATIENCE)
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered, Retry, Retry]
    assert [parsed(line)["body"]["n"] for line in path.read_bytes().splitlines(keepends=True)] == [0, 1]


async def test_a_batch_stays_in_one_file_even_if_the_file_is_renamed_meanwhile(path: Path, disk: Disk) -> None:
    """If a batch went on in a new file, nothing would wait for the lines in the old one."""
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        tasks = await sends(sink, disk, 4)
        write = disk.write

        def rotated(descriptor: int, data: bytes) -> int:
            if b'"n":2' in data:
                path.rename(path.with_suffix(".1"))
            return write(descriptor, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", rotated)
            release.set()
            assert await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE) == [Delivered()] * 4
    assert path.with_suffix(".1").read_bytes().count(b"\n") == 4


async def test_a_line_whose_send_was_cancelled_while_it_waited_is_not_written(path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        tasks = await sends(sink, disk, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        release.set()
        assert await asyncio.wait_for(asyncio.gather(*tasks[::2]), PATIENCE) == [Delivered()] * 2
    assert [parsed(line)["body"]["n"] for line in path.read_bytes().splitlines(keepends=True)] == [0, 2]


async def test_a_line_that_a_cancelled_send_took_along_waits_for_its_retry(path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        tasks = await sends(sink, disk, 3)
        disk.hold = again = threading.Event()
        release.set()
        assert await tasks[0] == Delivered()
        await until(lambda: disk.steps.count("write") == 3, PATIENCE)
        tasks[1].cancel()
        assert await asyncio.wait_for(tasks[2], PATIENCE) == Retry(
            Reason.UNAVAILABLE, f"{path}: an earlier write hangs; no other begins before it ends"
        )
        again.set()
        await written_to_the_end()
        assert await send(sink, outgoing(b'{"n":3}')) == Delivered()
    assert [parsed(line)["body"]["n"] for line in path.read_bytes().splitlines(keepends=True)] == [0, 1, 2, 3]


async def test_a_bug_in_a_write_reaches_every_send_that_shares_it(path: Path, disk: Disk) -> None:
    disk.hold = release = threading.Event()
    async with opened(JsonlConfig(path="events.jsonl", concurrency=4), path.parent) as sink:
        tasks = await sends(sink, disk, 3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: 1 // 0)
            release.set()
            outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
        assert await send(sink) == Delivered()


async def test_a_pipe_is_not_synced(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        async with opened(JsonlConfig(path="events.jsonl", fsync="always"), path.parent) as sink:
            assert await send(sink) == Delivered()
        assert os.read(reader, 65536).endswith(b"}\n")
    finally:
        os.close(reader)


async def test_the_file_that_logrotate_makes_a_moment_after_the_rename_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the sink made the file in between, it would be in the way of logrotate."""
    made, stat = 0, os.stat

    def missing_then_made(file: Path) -> os.stat_result:
        nonlocal made
        try:
            return stat(file)
        except FileNotFoundError:
            made += 1
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            raise

    async with opened(JsonlConfig(path="events.jsonl"), path.parent) as sink:
        await send(sink, outgoing(b'{"n":1}'))
        path.rename(path.with_suffix(".1"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", missing_then_made)
            assert await send(sink, outgoing(b'{"n":2}')) == Delivered()
    assert made == 1
    assert parsed(path.read_bytes())["body"] == {"n": 2}


# Delivered means that somebody has it.


@pytest.mark.parametrize("fsync", ["never", "batch", "always"])
async def test_a_line_written_to_a_file_that_is_removed_meanwhile_is_a_retry(
    fsync: Literal["never", "batch", "always"], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def removed_then_written(descriptor: int, data: bytes) -> int:
        path.unlink(missing_ok=True)
        return write(descriptor, data)

    async with opened(JsonlConfig(path=path.name, fsync=fsync), path.parent) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", removed_then_written)
            outcome = await send(sink)
        assert isinstance(outcome, Retry)
        assert "was removed" in outcome.detail
        assert await send(sink) == Delivered()
    assert len(path.read_bytes().splitlines()) == 1


async def test_a_pipe_without_a_reader_takes_no_line(path: Path) -> None:
    os.mkfifo(path)
    async with opened(JsonlConfig(path=path.name), path.parent) as sink:
        refused = await send(sink)
        assert isinstance(refused, Retry)
        assert str(path) in refused.detail
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        assert await send(sink) == Delivered()
        assert (await drain(reader, 1))[0].endswith(b"}\n")
        os.close(reader)
        assert isinstance(await send(sink), Retry), "its reader has gone"


async def test_a_reader_that_leaves_within_a_line_makes_it_a_retry(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    async with opened(JsonlConfig(path=path.name), path.parent) as sink:
        sending = asyncio.create_task(send(sink, outgoing(b'{"s":"' + b"x" * 400_000 + b'"}')))
        await asyncio.to_thread(select.select, [reader], [], [], PATIENCE)
        os.close(reader)
        outcome = await sending
    assert isinstance(outcome, Retry)
    assert "Broken pipe" in outcome.detail


@pytest.mark.parametrize("device", ["/dev/full", "/proc/self/fd/99999", "/dev/null/x"])
async def test_a_file_that_takes_no_byte_takes_no_line(device: str, tmp_path: Path) -> None:
    async with opened(JsonlConfig(path=device), tmp_path) as sink:
        assert isinstance(await send(sink), Retry)


async def test_a_folder_that_is_removed_under_the_open_file_makes_the_next_line_a_retry(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    async with opened(JsonlConfig(path="logs/events.jsonl"), tmp_path) as sink:
        assert await send(sink) == Delivered()
        shutil.rmtree(folder)
        assert isinstance(await send(sink), Retry)
        folder.mkdir()
        assert await send(sink) == Delivered()
    assert len((folder / "events.jsonl").read_bytes().splitlines()) == 1


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30), room=st.integers(0, 2_000))
@example(sizes=[1], room=2_000)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_delivered_lines_are_whole_in_the_file_even_if_writes_are_short(
    sizes: list[int], room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write may take fewer bytes than it was given (write(2)), and a disk fills up within a line."""
    path = tmp_path / f"{uuid4().hex}.jsonl"
    write, left, turns = os.write, room, itertools.cycle(sizes)

    def short(descriptor: int, data: bytes) -> int:
        nonlocal left
        taken = min(len(data), next(turns), left)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= taken
        return write(descriptor, data[:taken])

    delivered = []
    async with opened(JsonlConfig(path=path.name), tmp_path) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short)
            for number in range(6):
                delivery = outgoing(b'{"number":%d}' % number)
                if await send(sink, delivery) == Delivered():
                    delivered.append(render(delivery))
        lines = path.read_bytes().splitlines(keepends=True)
    assert lines == delivered
