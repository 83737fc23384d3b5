"""Handshakes on both event loops: they are bounded in time and number, write no tracebacks, and survive a drain."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from gateway.config.addresses import Tcp
from gateway.core.errors import ListenError
from gateway.core.secrets import Secret
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.observability.logs import RateLimited
from gateway.observability.metrics import Metrics
from gateway.web.responses import json_response
from gateway.web.server import tls
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.listen import listen
from gateway.web.server.places import MOST_OF_A_PEER
from gateway.web.server.tls import Certificate, Tls
from tests.fakes import FakeClock
from tests.support.certificates import HOST, Certified
from tests.support.exchange import exchange, request_bytes
from tests.support.waiting import PATIENCE, until

Test = Callable[["Serving"], Awaitable[None]]
Run = Callable[[Test], None]


class Serving:
    def __init__(self, folder: Path) -> None:
        self.certified = Certified(folder)
        self.certified.issue()
        self.output = structlog.testing.CapturingLogger()
        self.log = structlog.wrap_logger(self.output, processors=[])
        pair = [Secret((folder / name).read_text()) for name in ("server.pem", "server.key")]
        self.metrics = Metrics()
        self.tls = Tls(Certificate.of(*pair), metrics=self.metrics, clock=Clock(), log=self.log)
        self.complaints: list[dict[str, Any]] = []
        self.address = ("127.0.0.1", 0)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
        logger = logging.Logger("aiohttp.server")
        logger.addHandler(RateLimited(self.log, FakeClock().monotonic))
        self.server = BoundedServer(self._handle, logger)
        self.runner = web.ServerRunner(self.server, shutdown_timeout=0.1)
        await self.runner.setup()
        try:
            text = await listen(self.runner, Tcp("127.0.0.1", 0), Environment({}), self.tls)
            self.address = ("127.0.0.1", int(text.rpartition(":")[2]))
            yield
        finally:
            self.server.cut()
            await self.runner.cleanup()
        assert self.complaints == []

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return json_response(200, {"body": (await request.read()).decode()})

    async def post(self, body: bytes = b"") -> int:
        return (await exchange(self.address, request_bytes(body), **self.certified.options)).status

    async def drain(self) -> None:
        """Drain the server as the gateway does when it stops."""
        for site in list(self.runner.sites):
            await site.stop()
        await self.server.drain()

    def dial(self) -> socket.socket:
        """Open a TCP connection, and send nothing."""
        return socket.create_connection(self.address, timeout=5)

    def lines(self) -> list[tuple[Any, Any]]:
        return [(call.kwargs["kind"], call.kwargs.get("reason")) for call in self.output.calls]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a test against a server on one loop and on the other."""
    factory = pytest.importorskip("uvloop").new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def on_loop(test: Test) -> None:
        async def whole() -> None:
            serving = Serving(tmp_path)
            async with asyncio.timeout(PATIENCE), serving.started():
                await test(serving)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())

    return on_loop


async def ended(dialled: socket.socket) -> bytes:
    """Read until the other side closes."""
    said = b""
    with suppress(ConnectionError):
        while chunk := await asyncio.to_thread(dialled.recv, 4096):
            said += chunk
    dialled.close()
    return said


def test_a_handshake_has_ten_seconds_and_a_goodbye_one() -> None:
    assert (tls.HANDSHAKE_SECONDS, tls.CLOSING_SECONDS) == (10.0, 1.0)


def test_a_handshake_that_does_not_complete_is_cut(run: Run) -> None:
    async def test(live: Serving) -> None:
        assert live.tls.handshake_seconds == 10.0
        live.tls.handshake_seconds = 0.2
        silent, half = live.dial(), live.dial()
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
        assert (await ended(silent), await ended(half)) == (b"", b"")
        await until(lambda: not live.server.places)
        assert live.lines() == [("BadHandshake", "timeout")], "one line for both"

    run(test)


def test_unfinished_handshakes_count_for_their_peer_and_give_way(run: Run) -> None:
    async def test(live: Serving) -> None:
        waiting = [live.dial() for _ in range(MOST_OF_A_PEER + 10)]
        await until(lambda: len(live.server.places) == MOST_OF_A_PEER)
        assert await live.post() == 200, "the oldest of its own have given way"
        assert len(live.server.places) <= MOST_OF_A_PEER
        assert ("GaveWay", "peer") in live.lines()
        for dialled in waiting:
            dialled.close()
        await until(lambda: not live.server.places)

    run(test)


def test_the_time_for_a_request_begins_at_the_end_of_the_handshake(run: Run) -> None:
    """On a busy host a handshake takes long; a client that has just completed it must not give way because of that."""

    async def test(live: Serving) -> None:
        slow, silent = live.dial(), live.dial()
        await until(lambda: len(live.server.places) == 2)
        of_slow, of_silent = live.server.places
        secured = await asyncio.to_thread(live.certified.context.wrap_socket, slow, server_hostname=HOST)
        await until(lambda: of_slow.transport is not None)
        assert list(live.server.places) == [of_silent, of_slow], "the one that gives way first comes first"
        assert of_slow.since > of_silent.since
        secured.close()
        silent.close()
        await until(lambda: not live.server.places)

    run(test)


def test_a_client_that_does_not_speak_tls_makes_one_log_line_and_no_traceback(run: Run) -> None:
    async def test(live: Serving) -> None:
        for said in [request_bytes(b"x" * 100), b"SSH-2.0-x\r\n", b"\x16\x03\x01\xff\xff" * 100, b"\x00" * 5000] * 5:
            dialled = live.dial()
            dialled.sendall(said)
            await ended(dialled)
        for _ in range(20):
            live.dial().close()  # a health check, or a scan of ports
        with pytest.raises(ssl.SSLCertVerificationError):  # a client that does not trust our certificate
            await asyncio.open_connection(*live.address, ssl=ssl.create_default_context(), server_hostname=HOST)
        with await asyncio.to_thread(live.certified.context.wrap_socket, live.dial(), server_hostname=HOST) as garbled:
            os.write(garbled.fileno(), b"\x17\x03\x03\x00\x05hello" * 10)  # past the handshake, and past OpenSSL
            await ended(garbled)
        assert await live.post(b"x") == 200
        await until(lambda: not live.server.places)
        assert live.lines() == [("BadHandshake", "HTTP_REQUEST")]

    run(test)


def test_a_big_body_and_many_requests_on_one_connection_pass(run: Run) -> None:
    async def test(live: Serving) -> None:
        assert await live.post(b"x" * 900_000) == 200
        reader, writer = await asyncio.open_connection(*live.address, **live.certified.options)
        for _ in range(20):
            writer.write(request_bytes(b"y"))
            assert (await reader.readuntil(b'{"body":"y"}')).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        await writer.wait_closed()

    run(test)


def test_a_client_in_its_handshake_when_the_listener_stops_is_still_answered(run: Run) -> None:
    """A restart with a socket of systemd must not lose a client whose connection was accepted already."""

    async def test(live: Serving) -> None:
        dialled, idle = live.dial(), live.dial()
        await until(lambda: len(live.server.places) == 2)
        draining = asyncio.ensure_future(live.drain())
        await until(lambda: live.server.seating.draining)
        reader, writer = await asyncio.open_connection(sock=dialled, **live.certified.options)
        _, idle_writer = await asyncio.open_connection(sock=idle, **live.certified.options)
        writer.write(request_bytes(b"late"))
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert b"Connection: close" in await reader.read()
        await asyncio.wait_for(draining, PATIENCE)  # `idle` has had its second to say something
        for each in (writer, idle_writer):
            each.transport.abort()
        with pytest.raises(ConnectionError):
            live.dial()

    run(test)


def test_a_drain_waits_neither_for_a_handshake_nor_for_a_goodbye_that_never_comes(run: Run) -> None:
    async def test(live: Serving) -> None:
        silent, mute = live.dial(), live.dial()
        mute.settimeout(None)
        wrapped = await asyncio.to_thread(live.certified.context.wrap_socket, mute, server_hostname=HOST)
        await until(lambda: len(live.server.connections) == 1)
        started = asyncio.get_running_loop().time()
        await live.drain()  # `mute` does not read, so it never answers the close_notify
        assert asyncio.get_running_loop().time() - started < 5.0
        silent.close()
        wrapped.close()

    run(test)


def test_the_next_handshake_shows_the_next_certificate(run: Run) -> None:
    async def test(live: Serving) -> None:
        first = await live.certified.shown(live.address)
        ends = live.certified.issue(days=200)
        folder = live.certified.folder
        pair = [Secret((folder / name).read_text()) for name in ("server.pem", "server.key")]
        live.tls.use(Certificate.of(*pair))
        assert await live.certified.shown(live.address) == ends != first
        name = "legitmark_gateway_tls_certificate_expiry_timestamp_seconds"
        assert live.metrics.registry.get_sample_value(name) == ends.timestamp()

    run(test)


def test_an_address_in_use_is_reported_and_a_name_may_have_several_addresses(run: Run) -> None:
    async def test(live: Serving) -> None:
        with pytest.raises(ListenError, match=rf"127.0.0.1:{live.address[1]}: .*in use; .*another address in listen"):
            await listen(live.runner, Tcp(*live.address), Environment({}), live.tls)
        text = await listen(live.runner, Tcp("localhost", 0), Environment({}), live.tls)
        assert text.startswith("localhost:")
        address = ("localhost", int(text.rpartition(":")[2]))
        assert (await exchange(address, request_bytes(b""), **live.certified.options)).status == 200

    run(test)


async def test_an_expiring_certificate_is_warned_about_daily_in_its_last_three_weeks(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    ends = certified.issue(days=30).timestamp()
    output = structlog.testing.CapturingLogger()
    clock = FakeClock(ends - 23 * 86400)
    pair = [Secret((tmp_path / name).read_text()) for name in ("server.pem", "server.key")]
    shown = Tls(Certificate.of(*pair), metrics=Metrics(), clock=clock, log=structlog.wrap_logger(output, processors=[]))
    running = asyncio.ensure_future(shown.run())
    said: list[int] = []
    for _ in range(25):
        await until(lambda: clock.sleeping)
        clock.advance(86400)
        await until(lambda: all(seconds > 0 for seconds in clock.sleeping))
        said.append(len(output.calls))
    running.cancel()
    assert said[:3] == [0, 0, 1] and said[-1] == 23
    assert "in 20 day(s)" in output.calls[0].kwargs["trouble"] and "expired" in output.calls[-1].kwargs["trouble"]


def test_session_keys_go_to_no_file_and_there_is_no_renegotiation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    certified = Certified(tmp_path)
    certified.issue()
    pair = [Secret((tmp_path / name).read_text()) for name in ("server.pem", "server.key")]
    context = Certificate.of(*pair).context
    assert context.keylog_filename is None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2 and context.options & ssl.OP_NO_RENEGOTIATION
