"""An aiohttp server with every bound set, and the sockets that it listens on. aiohttp bounds almost nothing by itself."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, cast

import msgspec
from aiohttp import http_parser, web

from gateway.config.listen import Address, Inherited, Tcp, Unix
from gateway.core.errors import ListenError
from gateway.core.values import Environment
from gateway.systemd import listening_sockets
from gateway.web.tls import Tls, TlsSite, bind

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MOST_CONNECTIONS = 512
BOUNDS: dict[str, Any] = {
    "keepalive_timeout": 15.0,  # aiohttp's own is an hour; it also ends a connection that sends no request
    "lingering_time": 1.0,
    "auto_decompress": False,  # one gzip bomb, refused with 415, would stall the loop for seconds otherwise
    "max_line_size": 8190,
    "max_field_size": 8190,
    "access_log": None,  # halves the throughput; the audit log and the metrics say more
}
"""A misspelt name would drop them all silently, so a test reads them back from a live connection."""

_TURNS = 4
"""Of the loop, from accepting a connection until the server knows it: two by asyncio's count."""
_HEADERS = {"Content-Type": "application/json", "Server": "legitmark-gateway"}

_ACK_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: legitmark-gateway\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)

_BACKLOG = 1024
GRACE_SECONDS = 1.0
"""For the next request of a connection while the server drains: it may be on its way."""


def json_response(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), headers={**_HEADERS, **headers} if headers else _HEADERS)


class Ack(web.StreamResponse):
    """The 200 of a webhook, for a request of HTTP/1.1 whose connection stays open, written in one piece.

    aiohttp builds a response from parts that this one never has (cookies, streams, compression, hooks), which costs more than
    to verify the message. Nothing of its own construction is used, so none of it is run.
    """

    def __init__(self, body: bytes, now: float) -> None:
        self._bytes = _ACK_HEAD % (_http_date(int(now)), len(body), body)
        self._stays_open = True

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    def force_close(self) -> None:
        self._stays_open = False
        self._bytes = self._bytes.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        transport.write(self._bytes)

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything is written."""


@lru_cache(maxsize=4)
def _http_date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


class _Connection(web.RequestHandler):
    """aiohttp's protocol, with three differences: one connection too many is dropped, a request that is not HTTP gets our
    JSON instead of a text with the peer's bytes in it, and a drain lets a request that is under way come to its end."""

    _server: BoundedServer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(self._manager, BoundedServer)
        self._server = self._manager
        if not self._server.takes(self):
            self._manager = None  # so that the end of this connection is nothing to aiohttp, which never saw its beginning
            cast(asyncio.WriteTransport, transport).abort()  # uvloop's transports are none of asyncio's classes
            return
        super().connection_made(transport)
        if self._server.draining:
            self._loop.call_later(self._server.grace, self.let_go)

    def let_go(self, looks: int = 3) -> None:
        """Close, unless a request is under way: its answer closes then, and says so. A handshake comes to its end, too."""
        if self.transport is None or self._current_request is not None or self._messages:
            return
        if self._waiter is None and looks:
            # Between two steps of aiohttp's own tasks: what was read may be on its way to the handler, and would be committed
            # without an answer.
            self._loop.call_soon(self.let_go, looks - 1)
        else:
            self.force_close()

    def cut(self) -> None:
        self.force_close()
        if self._task_handler is not None:
            self._task_handler.cancel()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._server.draining:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        self.logger.warning("bad request", exc_info=exc)
        if status < 500:
            response = json_response(status, {"error": "bad_request", "detail": "the request is not well-formed HTTP"})
        else:
            response = json_response(503, {"error": "store_unavailable", "detail": "try again"}, {"Retry-After": "5"})
        response.force_close()
        return response


class BoundedServer(web.Server):
    """aiohttp's low-level server: bounded in connections, and without the signals and the router of an application."""

    def __init__(self, handler: Handler, logger: logging.Logger, grace: float = GRACE_SECONDS) -> None:
        """`grace`: seconds for which a drain leaves idle connections open.

        A client may be sending on one in this very moment, and would be reset; so it gets its answer, and learns from that that
        the connection ends.
        """
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ListenError("aiohttp's C parser is not loaded, and its Python one is not meant for the open: reinstall aiohttp")
        super().__init__(handler, handler_cancellation=False, logger=logger, **BOUNDS)
        self.logger = logger
        self.draining = False
        self._closed = False
        self._open: set[_Connection] = set()
        self._empty = asyncio.Event()
        self.grace = grace

    @property
    def full(self) -> bool:
        return self._closed or len(self._open) >= MOST_CONNECTIONS

    def takes(self, connection: web.RequestHandler) -> bool:
        return connection in self._open or not self.full

    def admit(self) -> web.RequestHandler | None:
        """A connection that has a place from now on, though its handshake is still to come; None where there is no place."""
        if self.full:
            return None
        connection = self()
        self._open.add(connection)
        return connection

    def dismiss(self, connection: web.RequestHandler) -> None:
        """Let another one have its place; may be called again."""
        assert isinstance(connection, _Connection)
        self._open.discard(connection)
        if self.draining and not self._open:
            self._empty.set()

    def __call__(self) -> _Connection:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        assert isinstance(handler, _Connection)
        self._open.add(handler)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.dismiss(handler)

    async def drain(self) -> None:
        """Wait until every request that has begun is answered. aiohttp's own shutdown would stop reading their bodies."""
        self.draining = True
        for connection in list(self._open):
            self._loop.call_later(self.grace, connection.let_go)
        if self._open:
            await self._empty.wait()

    def cut(self) -> None:
        """End every connection now, and every one that still comes."""
        self._closed = True
        for connection in list(self._open):
            connection.cut()


async def stop_listening(runner: web.BaseRunner) -> None:
    """Take no connection any more; those that were taken stay. A socket of systemd goes on collecting them for the next start."""
    loop = asyncio.get_running_loop()
    sites = list(runner.sites)
    for site in sites:
        # asyncio drops what it has accepted, with the request that was sent already, where its server is closed before the
        # connection is made some turns of the loop later: so accepting ends before that.
        for listening in getattr(site._server, "sockets", ()):
            loop.remove_reader(listening.fileno())
    await _turns()
    for site in sites:
        await site.stop()
    # uvloop accepts until here, and makes what it has accepted afterwards: a drain that begins earlier would end without it.
    await _turns()


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def listen(runner: web.BaseRunner, address: Address, environment: Environment, tls: Tls | None = None) -> str:
    """Start listening; the address as it came to be. Raises ListenError, naming it.

    Unix sockets stay plain, those of systemd too: who connects to them is on this host.
    """
    sites: list[web.BaseSite]
    server = runner.server
    assert isinstance(server, BoundedServer)
    try:
        match address:
            case Tcp(host=host, port=port) if tls is not None:
                bound = bind(host, port)
                address = Tcp(host, bound[0].getsockname()[1])
                sites = [TlsSite(runner, server, bound, tls, _BACKLOG)]
            case Tcp(host=host, port=port):
                sites = [web.TCPSite(runner, host, port, backlog=_BACKLOG, reuse_address=True)]
            case Unix(path=path):
                sites = [web.UnixSite(runner, str(path), backlog=_BACKLOG)]
            case Inherited(name=name):
                sites = [
                    web.SockSite(runner, passed, backlog=_BACKLOG)
                    if tls is None or passed.family == socket.AF_UNIX
                    else TlsSite(runner, server, [passed], tls, _BACKLOG)
                    for passed in listening_sockets(name, environment)
                ]
        for site in sites:
            await site.start()
        if isinstance(address, Unix):
            address.path.chmod(0o660)
    except OSError as error:
        raise ListenError(f"can't listen on {address}: {error.strerror or error}") from error
    if isinstance(address, Tcp) and address.port == 0:
        return str(Tcp(address.host, runner.addresses[-1][1]))
    return str(address)
