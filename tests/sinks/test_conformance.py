"""The promises of every sink (`gateway/sinks/base.py`): the same tests for all sink types."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks import SINK_TYPES, open_sink
from gateway.sinks.base import Sink
from gateway.sinks.jsonl.config import JsonlConfig
from tests.sinks.http_server import HttpServer
from tests.sinks.left_behind import descriptors, drain, written_to_the_end
from tests.sinks.sending import LONG, PATIENCE, SHORT, attempt, opened, opening, outgoing, send
from tests.sinks.subjects import SUBJECTS, Subject, assert_no_secret
from tests.sinks.tcp_server import Server

TYPES = [kind for kind in SINK_TYPES if kind in SUBJECTS]
CONNECTING = [kind for kind in TYPES if SUBJECTS[kind].connects]
FAILURES = [(kind, failure) for kind in CONNECTING for failure in SUBJECTS[kind].failures]


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop turn until a condition holds that needs no waiting, only turns."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0)
    assert condition()


@pytest.fixture(params=TYPES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture
async def working(subject: Subject, tmp_path: Path) -> AsyncIterator[Sink]:
    async with subject.taking() as server, subject.opened(server.port, tmp_path) as sink:
        yield sink


def test_every_sink_type_is_a_subject_of_this_suite() -> None:
    assert set(SINK_TYPES) == set(SUBJECTS), "add the type to SUBJECTS in tests/sinks/subjects.py"


def test_a_sink_that_connects_is_tried_with_a_server_that_hangs_and_one_that_drops_it() -> None:
    for kind in CONNECTING:
        assert {"hang", "drop"} <= set(SUBJECTS[kind].failures), kind


def test_opening_a_sink_connects_to_nothing_and_needs_no_loop(
    subject: Subject, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    before = descriptors()
    open_sink(subject.settings(port), opening(tmp_path, **subject.secrets(port)))
    assert descriptors() == before


async def test_a_delivery_that_is_taken_is_delivered(working: Sink) -> None:
    assert isinstance(await send(working), Delivered)


async def test_each_sample_is_delivered(payload: bytes, working: Sink) -> None:
    assert isinstance(await send(working, outgoing(payload)), Delivered)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b'{"a":"\\ud800"}', b"{}", b'{"event_type":["x"],"sr_uuid":1}'])
async def test_an_odd_body_is_delivered_too(body: bytes, working: Sink) -> None:
    assert isinstance(await send(working, outgoing(body, content_type=None, sender_id=None)), Delivered)


async def test_sends_at_once_are_all_delivered(working: Sink) -> None:
    outcomes = await asyncio.gather(*(send(working, outgoing(delivery_id=f"d-{number}")) for number in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)


@pytest.mark.parametrize("used", [True, False])
async def test_a_sink_may_be_closed_twice(used: bool, working: Sink) -> None:
    if used:
        await send(working)
    await working.aclose()
    await working.aclose()


async def test_a_closed_sink_holds_nothing_open(subject: Subject, tmp_path: Path) -> None:
    async with subject.taking() as server:
        before = descriptors()
        tasks = asyncio.all_tasks()
        async with subject.opened(server.port, tmp_path) as sink:
            await send(sink)
        if subject.connects:
            await asyncio.wait_for(server.gone.wait(), PATIENCE)
        await settled(lambda: descriptors() <= before)
        await settled(lambda: asyncio.all_tasks() <= tasks)


class Hung(NamedTuple):
    """A place where every send hangs."""

    subject: Subject
    server: Server
    """Takes deliveries, and answers none."""
    base: Path
    reader: int
    """The FIFO that the lines go to, full."""

    def opened(self, timeout: Duration = LONG) -> contextlib.aclosing[Sink]:
        return self.subject.opened(self.server.port, self.base, timeout)

    async def begun(self, sending: asyncio.Task[Outcome]) -> None:
        """Wait until the server has a client, and some turns more, so that most of what can be sent is sent."""
        if self.subject.connects:
            await asyncio.wait_for(self.server.met.wait(), PATIENCE)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not sending.done()

    async def let_go(self) -> None:
        """Wait for the end of a send that was given up: a connection is closed at once, a thread writes its line to the end."""
        if self.subject.connects:
            await asyncio.wait_for(self.server.gone.wait(), PATIENCE)
        else:
            (line,) = await drain(self.reader, 1)
            assert line.endswith(b"}\n")
            await written_to_the_end()


@pytest.fixture
async def hung(subject: Subject, tmp_path: Path, slow: int) -> AsyncIterator[Hung]:
    async with subject.hanging() as server:
        yield Hung(subject, server, tmp_path, slow)


async def test_a_hanging_send_that_is_cancelled_ends_at_once_and_leaves_nothing_behind(hung: Hung) -> None:
    before = descriptors()
    tasks = asyncio.all_tasks()
    async with hung.opened() as sink:
        sending = asyncio.create_task(sink.send(outgoing()))
        await hung.begun(sending)
        sending.cancel()
        await settled(sending.cancelled)
    await hung.let_go()
    await settled(lambda: descriptors() <= before)
    await settled(lambda: asyncio.all_tasks() <= tasks)
    gc.collect()
    assert hung.server.connections == hung.subject.connects


async def test_a_hanging_send_is_cut_when_the_lane_says_so_and_leaves_nothing_behind(hung: Hung) -> None:
    before = descriptors()
    async with hung.opened() as sink:
        with pytest.raises(TimeoutError):
            await attempt(sink, SHORT)
    await hung.let_go()
    await settled(lambda: descriptors() <= before)


async def test_a_sink_that_hangs_may_be_closed_twice_and_neither_close_waits_for_it(hung: Hung) -> None:
    async with hung.opened() as sink:
        sending = asyncio.create_task(sink.send(outgoing()))
        await hung.begun(sending)
        sending.cancel()
        for _ in range(2):
            closing = asyncio.create_task(sink.aclose())
            await settled(closing.done)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, PATIENCE)
    await hung.let_go()


@pytest.mark.parametrize("kind", CONNECTING)
async def test_a_sink_is_as_good_as_new_after_a_cancelled_send(kind: str, tmp_path: Path, slow: int) -> None:
    async with SUBJECTS[kind].hanging() as server:
        hung = Hung(SUBJECTS[kind], server, tmp_path, slow)
        async with hung.opened(SHORT) as sink:
            for _ in range(3):
                sending = asyncio.create_task(sink.send(outgoing()))
                await hung.begun(sending)
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(sending, PATIENCE)
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


async def test_a_file_is_as_good_as_new_once_a_cancelled_write_has_ended(tmp_path: Path, slow: int) -> None:
    hung = Hung(SUBJECTS["jsonl"], Server(_nobody), tmp_path, slow)
    async with opened(JsonlConfig(path="events.jsonl"), tmp_path) as sink:
        for _ in range(3):
            sending = asyncio.create_task(sink.send(outgoing(b'{"s":"' + b"x" * 400_000 + b'"}')))
            await hung.begun(sending)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, PATIENCE)
            await hung.let_go()
        assert await send(sink) == Delivered()


async def _nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("a sink that writes to a file connects to nothing")


@pytest.mark.parametrize(("kind", "failure"), FAILURES)
async def test_an_expected_failure_is_one_outcome_of_one_try_that_tells_no_secret(
    kind: str, failure: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    subject, timeout = SUBJECTS[kind], SHORT if failure == "hang" else LONG
    async with subject.failures[failure]() as server, subject.opened(server.port, tmp_path, timeout) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry | Defer | Reject)
    assert outcome.detail
    assert outcome.detail.isprintable()
    assert server.connections == 1
    if isinstance(server, HttpServer):
        assert len(server.heard) == 1
    written = capfd.readouterr()
    assert_no_secret(repr(outcome), str(outcome), caplog.text, written.out, written.err, repr(sink))


@pytest.mark.parametrize("kind", CONNECTING)
async def test_a_missing_server_is_one_outcome_that_tells_no_secret(
    kind: str, tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with SUBJECTS[kind].opened(free_port(), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECT
    assert_no_secret(repr(outcome), caplog.text)


@pytest.mark.parametrize("kind", CONNECTING)
async def test_an_address_that_the_sink_may_not_dial_is_trouble_of_the_whole_sink(kind: str, tmp_path: Path) -> None:
    subject = SUBJECTS[kind]
    async with subject.taking() as server:
        settings = msgspec.structs.replace(subject.settings(server.port), allow_networks=["10.0.0.0/8"])
        async with opened(settings, tmp_path, **subject.secrets(server.port)) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.sink_wide) == (Reason.BLOCKED, True)
    assert server.connections == 0


async def test_a_delivered_outcome_tells_no_secret_either(
    working: Sink, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    outcome = await send(working)
    written = capfd.readouterr()
    assert_no_secret(repr(outcome), caplog.text, written.out, written.err)
