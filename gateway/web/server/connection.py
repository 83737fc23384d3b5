"""One connection: aiohttp's protocol with bounds, and with an end that loses no request and no answer."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import termios
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway import SERVER
from gateway.web.server.framing import Framing

if TYPE_CHECKING:
    from gateway.web.server.bounded import BoundedServer

_HEADERS = {"Content-Type": "application/json", "Server": SERVER}
_ACK_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: "
    + SERVER.encode()
    + b"\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
_LINGER_SECONDS = 1.0
"""Seconds for the other side to read our end and to close, too."""
_LOOK_AGAIN_SECONDS = 0.1
UNFINISHED_SECONDS = 6.0
"""Seconds of a drain for a head, or a body, that has begun: a body is answered 408 after five."""


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


class Parting(Struct, frozen=True):
    """How long a drain waits for those who are connected, in seconds."""

    fresh: float
    """Seconds for the first request of a connection, since it was accepted and since the drain began."""
    kept: float
    """Seconds for the next request on a kept connection, since its last answer: a client that sends more often is told by
    `Connection: close` that its connection ends, and never meets an end that it did not expect (RFC 9112, section 9.5)."""
    unfinished: float
    """Seconds for the rest of a request that has begun: since its head or its body began, or the drain, if that came later."""
    open: float = 0.0
    """Seconds for which new connections are taken, since the drain began, while deliveries hold the stop up: what comes is
    committed, and the next process delivers it. Where sockets outlive the process: a sender that waits in one would wait for a
    sink that hangs."""

    def within(self, seconds: float) -> Parting:
        """The same for a drain of so many seconds: what nobody sends must not make it cut what is in flight."""
        open_for = min(self.open, max(seconds - UNFINISHED_SECONDS, seconds / 2))
        return Parting(min(self.fresh, seconds / 4), min(self.kept, seconds / 2), self.unfinished, open_for)


class Connection(web.RequestHandler):
    """aiohttp's protocol, with these differences: a request that is not HTTP gets our JSON instead of a text with the peer's
    bytes in it; what is unread is never thrown away by a close that the peer can't foresee; and a drain lets a request that is
    under way come to its end."""

    def __init__(self, server: BoundedServer, peer: str | None, accepted: socket.socket | None, **options: Any) -> None:
        super().__init__(server, **options)
        self.peer = peer
        self.since = self._loop.time()
        self.proven = False
        self.abandon: Callable[[], object] = lambda: None
        """Ends what is not made yet."""
        self._server = server
        self._socket = accepted
        self._framing = Framing()
        self._leaving = False
        self._lost: asyncio.Future[None] | None = None

    # --- what it is about

    def idle(self) -> bool:
        """Whether no request is under way, as far as it was read."""
        # Without a waiter it is between two steps of aiohttp's own tasks, and a request may be on its way to the handler.
        between = self._waiter is None and self._request_count > 0
        return self._current_request is None and not self._messages and not between

    def waits(self) -> bool:
        request = self._current_request
        return self._leaving or (not request.content.is_eof() if request is not None else self.idle())

    def unread(self) -> bool:
        if self._socket is None or self._socket.fileno() == -1:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, waiting)
        return waiting[0] > 0

    def may_go(self, now: float, begun: float, parting: Parting) -> bool:
        """Whether a drain that has begun then need not wait for it any more."""
        if self.transport is None or self._leaving:
            return False
        if self._framing.half or not self.idle():
            return self.waits() and now - max(self.since, begun) >= parting.unfinished
        if self._waiter is None or self.unread():
            return False
        patience = parting.kept if self._request_count else parting.fresh
        return now - self.since >= patience and now - begun >= parting.fresh

    def movable(self) -> socket.socket | None:
        """Return its socket if another process could go on with it: nothing of it is in this one, no request and no TLS."""
        transport = self.transport
        if transport is None or self._leaving or self._waiter is None or self._framing.half or not self.idle():
            return None
        if self.ssl_context is not None or transport.get_write_buffer_size() or self._socket is None:
            return None
        return self._socket if self._socket.fileno() != -1 else None

    def count_for(self, peer: str | None) -> None:
        """Count the place for the one whom a proxy sends for; None: for nobody again."""
        self._server.count_for(self, peer)

    # --- aiohttp's steps

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self._server.places:  # it gave way meanwhile
            self._manager = None  # so that the end of this connection is nothing to aiohttp, which never saw its beginning
            cast(asyncio.WriteTransport, transport).abort()  # uvloop's transports are none of asyncio's classes
            return
        super().connection_made(transport)
        self._server.places.step(self, self._loop.time())  # a handshake took its time, and its request can only come now

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        self._socket = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before, was_half = self._request_count, self._framing.half
        super().data_received(data)
        begun = self._request_count - before
        self._framing.received(data, [self._messages[at] for at in range(-begun, 0)])
        if begun or (self._framing.half and not was_half and self.idle()):
            self._server.places.step(self, self._loop.time())

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._server.draining:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self.proven = type(resp) is Ack
        self._server.places.step(self, self._loop.time())
        if not resp.keep_alive:
            await self._linger()
        return finished

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

    def _process_keepalive(self) -> None:
        if self._keepalive_handle is not None and self.idle() and self.unread():
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_SECONDS, self._process_keepalive)
        else:
            super()._process_keepalive()

    # --- its end

    def part(self) -> None:
        """End an idle connection. Whatever the other side sends now is read, and not answered: it reads an end, not a reset,
        by which a client knows that it may send the same again (RFC 9112, section 9.3.1)."""
        self._leave()
        if self._waiter is not None:
            self._waiter.cancel()
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, self.force_close)
            self._server.dismiss(self)  # nothing is owed to it
        else:
            self.force_close()  # TLS says goodbye by itself

    def give_way(self) -> None:
        """Let go of it at once: another one needs its place, or its socket has gone to another process."""
        self.abandon()
        self._force_close = True
        if self._waiter is not None:
            self._waiter.cancel()
        if self.transport is not None:
            self.transport.abort()

    def cut(self) -> None:
        self.abandon()
        self.force_close()
        if self._task_handler is not None:
            self._task_handler.cancel()

    async def _linger(self) -> None:
        """Close our half, and read on until the other side has closed, too: bytes that are unread at a close make it a reset,
        which takes the answer with it (RFC 9112, section 9.6)."""
        transport = self.transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            return
        self._leave()
        self._lost = self._loop.create_future()
        transport.write_eof()
        self._resume_transport_reading()
        await asyncio.wait((self._lost,), timeout=_LINGER_SECONDS)
        self.force_close()

    def _leave(self) -> None:
        self._leaving = self._close = True  # aiohttp drops what comes from now on
