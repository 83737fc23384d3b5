"""A webhook takes the short way or goes through aiohttp. Nobody can tell which: answers, audit lines and metrics are the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, cast

import pytest
import structlog

from gateway.core.errors import StoreError, StoreOverloaded
from gateway.core.records import Accepted, Duplicate, NewMessage, Stored
from gateway.core.secrets import Secret
from gateway.observability.metrics import Metrics
from gateway.web.server.client_connection import ClientConnection
from gateway.web.server.drain_times import DrainTimes
from gateway.web.server.tls import Certificate, Tls
from tests.fakes import FakeClock
from tests.support.certificates import Certified
from tests.support.exchange import Answer, Headers, read_answer, request_bytes
from tests.support.waiting import PATIENCE, until
from tests.support.webhook_listener import (
    BODY,
    CLOSED,
    LOOPS,
    MAX_BODY,
    OPEN,
    SENDER,
    Store,
    WebhookListener,
    audit_log,
    connection,
    on_loop,
    webhook,
    webhook_listener,
)
from tests.support.webhooks import PATH, event

DATE = re.compile(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n")


class FixedIds(FakeClock):
    """A clock that gives every message the same id."""

    def new_id(self) -> str:
        return "0" * 31 + "1"


def unsigned(body: bytes, headers: Headers = (), path: str = OPEN) -> bytes:
    return request_bytes(body, [SENDER, *headers], path=path)


class Case(NamedTuple):
    status: int
    raw: bytes
    result: Stored | Exception = Accepted(1)


SHORT = {
    "accepted": Case(200, webhook()),
    "accepted with a content type": Case(200, webhook(BODY, ("Content-Type", "application/json; charset=utf-8"))),
    "an unknown type": Case(200, webhook(event("sr-1", event_type="later"))),
    "a duplicate": Case(200, webhook(), Duplicate("0" * 32, "message_id", conflict=True)),
    "without signatures": Case(200, unsigned(BODY)),
    "forbidden": Case(403, webhook(path=CLOSED)),
    "forbidden behind a proxy": Case(403, webhook(BODY, ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"), path=CLOSED)),
    "a coding": Case(415, webhook(BODY, ("Content-Encoding", "gzip"))),
    "no signature": Case(401, unsigned(BODY, path=PATH)),
    "a wrong signature": Case(401, webhook().replace(b"sr-1", b"sr-2")),
    "an old timestamp": Case(401, webhook(age=3600)),
    "no JSON": Case(400, unsigned(b"{")),
    "overloaded": Case(503, webhook(), StoreOverloaded("too many messages wait for the disk")),
    "no store": Case(503, webhook(), StoreError("the disk is full: /secret/path")),
    "a bug in the commit": Case(503, webhook(), TypeError("a secret")),
    "a bug before the commit": Case(503, webhook(), ZeroDivisionError("a secret")),
}
"""Requests of the plain form, with the results of the store."""

LONG = {
    "quarantined": Case(200, webhook(b"{")),
    "too large": Case(413, webhook(b" " * (MAX_BODY + 1))),
    "no source": Case(404, webhook(path="/webhooks/nobody")),
    "another method": Case(405, webhook().replace(b"POST", b"PUT", 1)),
    "a query": Case(200, webhook(path=f"{PATH}?a=b")),
    "an escaped path": Case(200, webhook(path=PATH.replace("legit", "%6cegit"))),
    "a connection that ends": Case(200, webhook(BODY, ("Connection", "close"))),
    "HTTP/1.0": Case(200, webhook().replace(b"HTTP/1.1", b"HTTP/1.0")),
    "chunks": Case(
        200,
        webhook()
        .replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
        .replace(BODY, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    ),
    "two lengths": Case(400, webhook(BODY, ("Content-Length", str(len(BODY))))),
}
"""Requests that aiohttp has to answer, although each came in one packet."""


class Seen(NamedTuple):
    """Everything that an outsider can see of a request."""

    answer: bytes
    audit: bytes
    metrics: list[bytes]
    stored: list[NewMessage]


async def seen(case: Case, folder: Path, *, short: bool) -> tuple[Seen, list[bytes]]:
    """Send a request, and send it again if the connection stays open."""
    clock = FixedIds()
    folder.mkdir()
    async with (
        audit_log(folder / "audit.jsonl", clock) as audit,
        webhook_listener(store := Store(audit, case.result), audit, clock=clock, short=short) as live,
    ):
        answer = b""
        async with asyncio.timeout(PATIENCE), connection(live) as (reader, writer):
            for _ in range(2):
                writer.write(case.raw)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
                answer += head + await reader.readexactly(length)
                if b"Connection: close" in head or b"HTTP/1.0" in head:
                    assert await reader.read() == b""
                    break
        await audit.flush()
        audited = audit.path.read_bytes() if audit.path.exists() else b""
        metrics = [line for line in live.metrics.exposition().splitlines() if b"_process_" not in line]
        return Seen(DATE.sub(b"", answer), audited, metrics, store.messages), live.taken


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", SHORT)
def test_a_plain_request_is_answered_as_if_aiohttp_had_read_it(name: str, loop: str, tmp_path: Path) -> None:
    async def test() -> None:
        case = SHORT[name]
        short, taken = await seen(case, tmp_path / "short", short=True)
        assert len(taken) == (1 if case.status == 400 else 2)
        assert short.answer.startswith(b"HTTP/1.1 %d " % case.status) and b"secret" not in short.answer
        long, none = await seen(case, tmp_path / "long", short=False)
        assert none == [] and short == long

    on_loop(loop, test)


@pytest.mark.parametrize("name", LONG)
def test_every_other_request_goes_through_aiohttp(name: str, tmp_path: Path) -> None:
    async def test() -> None:
        short, taken = await seen(LONG[name], tmp_path / "short", short=True)
        assert taken == [] and b" %d " % LONG[name].status in short.answer.split(b"\r\n")[0]
        assert short == (await seen(LONG[name], tmp_path / "long", short=False))[0]

    on_loop("asyncio", test)


def on_both_loops(test: Callable[[WebhookListener, Store], Awaitable[None]]) -> Callable[[str, Path], None]:
    """Make a test of a function that is given a listener and its store."""

    @pytest.mark.parametrize("loop", LOOPS)
    def run(loop: str, tmp_path: Path) -> None:
        async def whole() -> None:
            clock = FakeClock()
            async with (
                audit_log(tmp_path / "audit.jsonl", clock) as audit,
                webhook_listener(store := Store(audit), audit, clock=clock) as live,
                asyncio.timeout(PATIENCE),
            ):
                await test(live, store)

        on_loop(loop, whole)

    run.__doc__ = test.__doc__
    return run


async def answers(reader: asyncio.StreamReader, number: int) -> list[Answer]:
    return [await read_answer(reader, 0.0) for _ in range(number)]


def the_connection(live: WebhookListener) -> ClientConnection:
    (found,) = live.server.places
    return found


@on_both_loops
async def test_requests_that_come_before_the_answer_are_answered_after_it_in_order(live: WebhookListener, store: Store) -> None:
    store.holds = True
    async with connection(live) as (reader, writer):
        writer.write(webhook(sender_id="msg_1"))
        await until(lambda: len(store.messages) == 1)
        writer.write(webhook(age=3600))  # its answer is ready at once
        writer.write(webhook(sender_id="msg_2"))
        writer.write(webhook(sender_id="msg_3")[:100])
        await until(lambda: not the_connection(live).unread())
        store.let_go()
        early = await answers(reader, 3)
        writer.write(webhook(sender_id="msg_3")[100:])
        late = await answers(reader, 1)
    assert [new.message.sender_id for new in store.messages] == ["msg_1", "msg_2", "msg_3"]
    ids = [new.message.id for new in store.messages]
    assert [answer.json().get("id") for answer in (*early, *late)] == [ids[0], None, *ids[1:]]


class BrokenTransport:
    """A transport on which nothing can be written because of a bug."""

    def __init__(self, real: asyncio.Transport) -> None:
        self._real = real
        self.close = real.close

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        raise RuntimeError("a bug")


@on_both_loops
async def test_a_bug_in_answering_ends_its_connection_and_no_other_one_waits(live: WebhookListener, store: Store) -> None:
    store.holds = True
    loop, said = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: said.append(context["exception"]))
    async with connection(live) as (first, to_first):
        to_first.write(webhook(sender_id="msg_1"))
        await until(lambda: len(store.messages) == 1)
        holder = the_connection(live)
        holder.transport = cast(asyncio.Transport, BrokenTransport(cast(asyncio.Transport, holder.transport)))
        async with connection(live) as (second, to_second):
            to_second.write(webhook(sender_id="msg_2"))
            await until(lambda: len(store.messages) == 2)
            store.let_go()
            (answer,) = await answers(second, 1)
        assert await first.read() == b""
    assert answer.outcome == (200, "accepted")
    assert [str(bug) for bug in said] == ["a bug"]


@on_both_loops
async def test_little_is_read_before_the_answer(live: WebhookListener, store: Store) -> None:
    """Otherwise a client could fill the memory while the disk is slow."""
    store.holds = True
    async with connection(live) as (reader, writer):
        writer.write(webhook())
        await until(lambda: len(store.messages) == 1)
        for _ in range(64):
            writer.write(b"x" * 2**20)
        await until(lambda: the_connection(live).unread())
        await asyncio.wait([asyncio.ensure_future(writer.drain())], timeout=0.2)
        assert writer.transport.get_write_buffer_size() > 32 * 2**20
        store.let_go()
        (answer,) = await answers(reader, 1)
    assert answer.outcome == (200, "accepted")


@on_both_loops
async def test_a_client_that_does_not_read_its_answers_gets_no_more_of_them(live: WebhookListener, store: Store) -> None:
    """Otherwise a stranger's refusals could fill the memory. The transport calls `pause_writing` when 64 KiB wait to be read."""
    async with connection(live) as (reader, writer):
        await until(lambda: len(live.server.places) == 1)
        holder = the_connection(live)
        holder.pause_writing()
        writer.write(webhook(age=3600))
        assert (await answers(reader, 1))[0].status == 401
        writer.write(webhook(age=3600))
        answer = asyncio.ensure_future(read_answer(reader, 0.0))
        await asyncio.wait([answer], timeout=0.2)
        assert not answer.done() and live.taken == []
        holder.resume_writing()
        assert (await answer).status == 401
        writer.write(webhook())
        assert (await answers(reader, 1))[0].status == 200
        assert len(live.taken) == 1


@on_both_loops
async def test_a_connection_changes_its_way_from_request_to_request(live: WebhookListener, store: Store) -> None:
    async with connection(live) as (reader, writer):
        for number in range(8):
            raw = webhook(sender_id=f"msg_{number}")
            pieces = [raw] if number % 2 else [raw[: 10 + 60 * number], raw[10 + 60 * number :]]
            for piece in pieces:
                writer.write(piece)
                await until(lambda: not the_connection(live).unread())
            assert (await answers(reader, 1))[0].outcome == (200, "accepted")
            assert len(live.taken) == (number + 1) // 2


@on_both_loops
async def test_a_drain_waits_for_the_answer_and_ends_the_connection_with_it(live: WebhookListener, store: Store) -> None:
    store.holds = True
    live.server.drain_times = DrainTimes(0.1, 0.1, 0.1)
    async with connection(live) as (reader, writer):
        writer.write(webhook())
        await until(lambda: len(store.messages) == 1)
        writer.write(webhook(sender_id="msg_2"))  # it is not answered: its sender reads an end, and sends it again
        drain = asyncio.ensure_future(live.server.drain())
        await asyncio.wait([drain], timeout=0.5)
        assert not drain.done()
        store.let_go()
        (answer,) = await answers(reader, 1)
        assert answer.outcome == (200, "accepted") and answer.header("connection") == "close"
        assert await reader.read() == b""
    await drain
    assert len(store.messages) == 1


@on_both_loops
async def test_a_request_that_comes_while_the_server_drains_goes_through_aiohttp(live: WebhookListener, store: Store) -> None:
    async with connection(live) as (reader, writer):
        await until(lambda: len(live.server.places) == 1)
        drain = asyncio.ensure_future(live.server.drain())
        await until(lambda: live.server.seating.draining)
        writer.write(webhook())
        (answer,) = await answers(reader, 1)
        assert answer.outcome == (200, "accepted") and answer.header("connection") == "close"
    await drain
    assert live.taken == []


@on_both_loops
async def test_no_keep_alive_timer_ends_a_connection_before_its_answer(live: WebhookListener, store: Store) -> None:
    live.server._kwargs["keepalive_timeout"] = 0.2
    store.holds = True
    async with connection(live) as (reader, writer):
        writer.write(webhook())
        answer = asyncio.ensure_future(read_answer(reader, 0.0))
        await asyncio.wait([answer], timeout=0.5)
        assert not answer.done()
        store.let_go()
        assert (await answer).outcome == (200, "accepted")
        assert await reader.read() == b""  # the timer runs again


@on_both_loops
async def test_a_client_that_hangs_up_loses_its_answer_and_not_its_message(live: WebhookListener, store: Store) -> None:
    store.holds = True
    async with connection(live) as (_, writer):
        writer.write(webhook())
        await until(lambda: len(store.messages) == 1)
    await until(lambda: not live.server.places)
    store.let_go()
    async with connection(live) as (reader, writer):
        writer.write(webhook(sender_id="msg_2"))
        assert (await answers(reader, 1))[0].outcome == (200, "accepted")
    assert live.metrics.totals.received == 2


@on_both_loops
async def test_a_connection_keeps_its_place_while_it_waits_for_us_and_is_proven_afterwards(
    live: WebhookListener, store: Store
) -> None:
    store.holds = True
    async with connection(live) as (reader, writer):
        writer.write(webhook())
        await until(lambda: len(store.messages) == 1)
        holder = the_connection(live)
        assert (holder.waits(), holder.idle(), holder.movable(), holder.proven) == (False, False, None, False)
        store.let_go()
        await answers(reader, 1)
        assert (holder.waits(), holder.idle(), holder.movable() is None, holder.proven) == (True, True, False, True)
        writer.write(webhook(age=3600))
        assert (await answers(reader, 1))[0].outcome == (401, "stale_timestamp")
        assert holder.proven is False


@pytest.mark.parametrize("loop", LOOPS)
def test_the_short_way_is_the_same_behind_tls(loop: str, tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()

    async def test() -> None:
        clock = FakeClock()
        pair = [Secret((tmp_path / name).read_text()) for name in ("server.pem", "server.key")]
        tls = Tls(
            Certificate.of(*pair),
            metrics=Metrics(),
            clock=clock,
            log=structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]),
        )
        async with (
            audit_log(tmp_path / "audit.jsonl", clock) as audit,
            webhook_listener(store := Store(audit), audit, clock=clock, tls=tls) as live,
            asyncio.timeout(PATIENCE),
        ):
            async with connection(live, **certified.options) as (reader, writer):
                for number in range(2):
                    writer.write(webhook(sender_id=f"msg_{number}"))
                    assert (await answers(reader, 1))[0].outcome == (200, "accepted")
                store.holds = True
                writer.write(webhook(sender_id="msg_2"))
                await until(lambda: len(store.messages) == 3)
                drain = asyncio.ensure_future(live.server.drain())
                await until(lambda: live.server.seating.draining)
                store.let_go()
                (answer,) = await answers(reader, 1)
                assert answer.outcome == (200, "accepted") and answer.header("connection") == "close"
                assert await reader.read() == b""
            await drain
            assert len(live.taken) == 3

    on_loop(loop, test)
