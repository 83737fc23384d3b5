"""The bounds of the server, read back from live connections: aiohttp drops a misspelt option silently."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import http_parser, web

from gateway.config.addresses import Tcp
from gateway.host.environment import Environment
from gateway.web.responses import json_response
from gateway.web.server.accepting import Site
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.drain_times import DrainTimes
from gateway.web.server.listen import listen, stop_listening
from gateway.web.server.places import MOST_CONNECTIONS
from tests.support.exchange import exchange, request_bytes
from tests.support.service_manager import listening
from tests.support.waiting import PATIENCE, until


class Serving:
    def __init__(self) -> None:
        self.handling = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = False
        self.finished = False
        self.bodies: list[bytes] = []
        self.logger = logging.Logger("quiet")
        self.logger.addHandler(logging.NullHandler())
        self.server = BoundedServer(self.handle, self.logger)
        self.address = ("127.0.0.1", 0)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.handling.set()
        if request.path == "/bug":
            raise ZeroDivisionError("a secret")
        if request.path == "/wait":
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        self.bodies.append(await request.read())
        self.finished = True
        return json_response(200, {"path": request.path})


@asynccontextmanager
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    runner = web.ServerRunner(serving.server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        host, _, port = (await listen(runner, Tcp("127.0.0.1", 0), Environment({}))).rpartition(":")
        serving.address = (host, int(port))
        yield serving
    finally:
        await runner.cleanup()


async def test_a_live_connection_has_every_bound() -> None:
    async with serving() as live, live.connection() as (reader, writer):
        writer.write(request_bytes(b"", path="/wait"))
        await live.handling.wait()
        (connection,) = live.server.connections
        assert isinstance(connection, web.RequestHandler)
        assert connection.keepalive_timeout == 15.0
        assert connection._lingering_time == 1.0
        assert connection.access_log is None and connection.access_logger is None
        assert connection.logger is live.logger
        assert live.server.handler_cancellation is False
        assert connection._parser.__class__.__module__ == "aiohttp._http_parser"  # the parser in C
        live.go_on.set()
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"


async def test_the_c_parser_is_the_one_that_is_loaded() -> None:
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


async def test_a_request_line_and_a_header_field_have_at_most_8190_bytes() -> None:
    async with serving() as live:
        for size, status in ((8000, 200), (8192, 400), (100_000, 400)):
            line = await exchange(live.address, request_bytes(b"", path="/" + "a" * size))
            field = await exchange(live.address, request_bytes(b"", [("x", "a" * size)]))
            assert (line.status, field.status) == (status, status), size


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with serving() as live:
        raw = gzip.compress(b"hello")
        assert (await exchange(live.address, request_bytes(raw, [("Content-Encoding", "gzip")]))).status == 200
        assert live.bodies == [raw]


async def test_a_client_that_hangs_up_cancels_no_handler() -> None:
    """If a handler were cancelled between the commit and the audit line, the message would be stored without a line."""
    async with serving() as live:
        _, writer = await asyncio.open_connection(*live.address)
        writer.write(request_bytes(b"", path="/wait"))
        await live.handling.wait()
        (connection,) = live.server.connections
        writer.transport.abort()
        await until(lambda: connection.transport is None)
        assert not live.cancelled
        live.go_on.set()
        await until(lambda: live.finished)


async def test_a_bug_in_a_handler_is_answered_503_without_details() -> None:
    async with serving() as live:
        answer = await exchange(live.address, request_bytes(b"", path="/bug"))
        assert answer.outcome == (503, "store_unavailable") and answer.header("retry-after") == "5"
        assert b"secret" not in answer.body and b"Zero" not in answer.body


async def test_the_answer_does_not_name_aiohttp() -> None:
    async with serving() as live:
        for raw in (request_bytes(b""), b"nonsense\r\n\r\n"):
            answer = await exchange(live.address, raw)
            assert answer.header("server") == "legitmark-gateway" and b"aiohttp" not in answer.body


async def test_a_connection_that_sends_nothing_or_half_a_head_is_closed() -> None:
    """The real wait is 15 s, too long for a test: the same server with a shorter one."""
    async with serving() as live:
        live.server._kwargs["keepalive_timeout"] = 0.2
        for sent, answer in ((b"", b""), (b"POST / HTTP/1.1\r\nHost: x\r\n", b""), (request_bytes(b""), b"HTTP/1.1 200 OK\r\n")):
            async with live.connection() as (reader, writer):
                writer.write(sent)
                received = await asyncio.wait_for(reader.read(), PATIENCE)
                assert received.startswith(answer) if answer else received == b"", sent


async def test_a_full_server_leaves_connections_in_the_kernel_until_there_is_a_place() -> None:
    more = 40
    async with serving() as live:

        async def post(number: int) -> int:
            peer = (f"127.0.0.{2 + number // 100}", 0)  # no peer has used its share
            return (await exchange(live.address, request_bytes(b"{}", path="/wait"), local_addr=peer)).status

        posts = [asyncio.ensure_future(post(number)) for number in range(MOST_CONNECTIONS + more)]
        await until(lambda: len(live.server.connections) == MOST_CONNECTIONS)
        await until(lambda: live.server.seating.paused)
        for _ in range(200):  # turns of the loop in which another connection would be accepted
            await asyncio.sleep(0)
        assert (len(live.server.places), live.server.seating.parked) == (MOST_CONNECTIONS, 0)
        assert _in_the_kernel(live.address[1]) == more
        live.go_on.set()
        assert await asyncio.gather(*posts) == [200] * len(posts)


def _in_the_kernel(port: int) -> int:
    """Connections that wait for a listening socket to accept them: its receive queue in /proc/net/tcp (proc_net_tcp.txt)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if state == "0A" and int(local.rpartition(":")[2], 16) == port:
            return int(queues.rpartition(":")[2], 16)
    raise AssertionError("nobody listens there")


@pytest.mark.parametrize("steps", range(24))
async def test_a_drain_answers_every_request_that_was_read_whenever_it_begins(steps: int) -> None:
    """A request that was read reaches its handler some turns of the loop later; to close meanwhile would lose its answer."""
    async with serving() as live, live.connection() as (reader, writer):
        writer.write(request_bytes(b"{}", path="/"))
        for _ in range(steps):
            await asyncio.sleep(0)  # a turn of the loop
        live.server.drain_times = DrainTimes(0.2, 0.2, 5.0)
        async with asyncio.timeout(PATIENCE):
            await live.server.drain()
            answer = b""
            with suppress(ConnectionResetError):  # nothing of it was read
                answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200") == bool(live.bodies)


@pytest.mark.parametrize("turns", range(-6, 8))
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_connection_is_answered_or_waits_in_the_socket_whenever_the_stop_begins(loop: str, turns: int) -> None:
    """The stop begins so many turns of the loop later, or earlier. When the listener is closed, asyncio would drop a connection
    that it has accepted, but not made yet; uvloop makes it afterwards, when a drain might be over."""
    with asyncio.Runner(loop_factory=pytest.importorskip(loop).new_event_loop) as runner:
        runner.run(_stop_meanwhile(turns))


async def _stop_meanwhile(turns: int) -> None:
    serving = Serving()
    serving.server = BoundedServer(serving.handle, serving.logger, drain_times=DrainTimes(0.2, 0.2, 5.0))
    runner = web.ServerRunner(serving.server, shutdown_timeout=0.1)
    await runner.setup()
    with listening() as held, socket.socket() as client:  # as systemd holds it
        await Site(runner, serving.server.seating, [held.dup()], None, 1024).start()

        async def connect() -> None:
            for _ in range(-turns):
                await asyncio.sleep(0)
            client.connect(held.getsockname())
            client.sendall(request_bytes(b"{}", path="/"))
            for _ in range(turns):
                await asyncio.sleep(0)

        connecting = asyncio.ensure_future(connect())
        if turns >= 0:
            await connecting
        await stop_listening(runner)
        await connecting
        await serving.server.drain()
        client.setblocking(False)
        held.setblocking(False)
        if serving.bodies:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        else:
            held.accept()[0].close()  # it is still there, for the next start
    await runner.cleanup()
