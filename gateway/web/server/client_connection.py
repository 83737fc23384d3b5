"""One connection: aiohttp's protocol with bounds, a short way for plain requests, and an end that loses no request or answer."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import termios
from typing import Any, cast

from aiohttp import web

from gateway.web.responses import Ack, PlainAnswer, json_response
from gateway.web.server import plain_request
from gateway.web.server.drain_times import DrainTimes
from gateway.web.server.framing import Framing
from gateway.web.server.seating import Seating
from gateway.web.server.short_way import ShortWay

_LINGER_SECONDS = 1.0
"""Seconds for the other side to read our end and to close, too."""
_LOOK_AGAIN_SECONDS = 0.1


class ClientConnection(web.RequestHandler):
    """aiohttp's protocol with four differences.

    A plain request takes the short way; every other one goes through aiohttp. A request that is not HTTP is answered by our
    JSON, not by a text with the peer's bytes in it. A close that the peer cannot foresee never throws unread bytes away. A drain
    lets a request that is under way come to its end.
    """

    def __init__(
        self,
        server: web.Server,
        seating: Seating[ClientConnection],
        peer: str | None,
        accepted: socket.socket | None,
        short_way: ShortWay | None,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self.peer = peer
        self.since = self._loop.time()
        self.proven = False
        self._seating = seating
        self._socket = accepted
        self._framing = Framing()
        self._short_way = short_way
        self._answering = False
        """A request on the short way waits for its answer."""
        self._held: list[bytes] = []
        """Packets that came meanwhile: their requests are next."""
        self._leaving = False
        self._lost: asyncio.Future[None] | None = None

    def idle(self) -> bool:
        """Return True if no request is under way, as far as the bytes were read."""
        # Without a waiter, aiohttp's own tasks are between two steps, and a request may be on its way to the handler.
        between = self._waiter is None and self._request_count > 0
        return self._current_request is None and not self._messages and not between and not self._answering

    def waits(self) -> bool:
        request = self._current_request
        return self._leaving or (not request.content.is_eof() if request is not None else self.idle())

    def unread(self) -> bool:
        if self._socket is None or self._socket.fileno() == -1:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, waiting)
        return waiting[0] > 0

    def may_go(self, now: float, begun: float, drain_times: DrainTimes) -> bool:
        """Return True if a drain need not wait for this connection any more.

        Args:
            now: an instant of the loop's clock.
            begun: the instant at which the drain began.
        """
        if self.transport is None or self._leaving:
            return False
        if self._framing.half or not self.idle():
            return self.waits() and now - max(self.since, begun) >= drain_times.unfinished
        if self._waiter is None or self.unread():
            return False
        patience = drain_times.kept if self._request_count else drain_times.fresh
        return now - self.since >= patience and now - begun >= drain_times.fresh

    def movable(self) -> socket.socket | None:
        """Return the socket if another process could go on with it: this one holds no part of a request and no TLS state."""
        transport = self.transport
        if transport is None or self._leaving or self._waiter is None or self._framing.half or not self.idle():
            return None
        if self.ssl_context is not None or transport.get_write_buffer_size() or self._socket is None:
            return None
        return self._socket if self._socket.fileno() != -1 else None

    def count_for(self, peer: str | None) -> None:
        """Count the place for the peer that a proxy sends for; None counts it for no peer again."""
        self._seating.count_for(self, peer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self._seating.places:  # it gave way meanwhile
            self._manager = None  # aiohttp never saw this connection begin, so it must not see it end
            cast(asyncio.WriteTransport, transport).abort()  # uvloop's transports are not asyncio's classes
            return
        super().connection_made(transport)
        self._seating.places.step(self, self._loop.time())  # the handshake took its time, and a request can only come now

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        self._socket = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._answering:
            self._held.append(data)
            self._pause_transport_reading()
        elif not self._goes_short(data):
            self._go_through_aiohttp(data)

    def _goes_short(self, data: bytes) -> bool:
        """Let a plain request take the short way, if aiohttp is between two requests; return False if it does not."""
        between = self._waiter is not None or self._request_count == 0  # the first request may be faster than aiohttp's task
        if self._short_way is None or not between or self._messages or self._framing.half or self._seating.draining:
            return False
        # With `_paused`, the other side does not read its answers: aiohttp waits for it.
        if self._close or self._force_close or self._upgraded or self._paused or self._reading_paused or self._buffer_paused:
            return False
        request = plain_request.read(data)
        if request is None:
            return False
        self._answering = True
        self._request_count += 1
        self._seating.places.step(self, self._loop.time())
        if not self._short_way.take(request, self, self._answer_safely):
            self._answering = False
            self._request_count -= 1
            return False
        return True

    def _answer_safely(self, answer: PlainAnswer) -> None:
        """Answer the request on the short way. A bug ends this connection alone: the caller has others to tell."""
        try:
            self._answer(answer)
        except Exception as bug:
            self._loop.call_exception_handler({"message": "a bug in answering a request", "exception": bug, "protocol": self})
            self.force_close()

    def _answer(self, answer: PlainAnswer) -> None:
        """Answer the request on the short way, and go on with the bytes that came meanwhile."""
        self._answering = False
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        closes = answer.closes or self._seating.draining
        transport.write(answer.encoded(closes=closes))
        now = self._loop.time()
        self.proven = answer.status == 200
        self._seating.places.step(self, now)
        if closes:
            self._end_our_half()
            return
        self._next_keepalive_close_time = now + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._held:
            # One by one, as they came: aiohttp refuses all requests of a packet together.
            held, self._held = self._held, []
            self._resume_transport_reading()
            for packet in held:
                self.data_received(packet)

    def _go_through_aiohttp(self, data: bytes) -> None:
        before, was_half = self._request_count, self._framing.half
        super().data_received(data)
        begun = self._request_count - before
        self._framing.received(data, [self._messages[at] for at in range(-begun, 0)])
        if begun or (self._framing.half and not was_half and self.idle()):
            self._seating.places.step(self, self._loop.time())

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._seating.draining:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self.proven = type(resp) is Ack
        self._seating.places.step(self, self._loop.time())
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
        if self._answering:
            self._keepalive_handle = None  # the answer sets it again
        elif self._keepalive_handle is not None and self.idle() and self.unread():
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_SECONDS, self._process_keepalive)
        else:
            super()._process_keepalive()

    def part(self) -> None:
        """End an idle connection. Bytes that the other side sends now are read and not answered.

        So the client reads an end and not a reset, and knows that it may send the request again (RFC 9112, section 9.3.1).
        """
        if self._end_our_half():
            self._seating.dismiss(self)  # no answer is owed to it

    def give_way(self) -> None:
        """End at once: another connection needs the place, or the socket has gone to another process."""
        self._force_close = True
        if self._waiter is not None:
            self._waiter.cancel()
        if self.transport is not None:
            self.transport.abort()

    def cut(self) -> None:
        """End at once, in the middle of a request too."""
        self.force_close()
        if self._task_handler is not None:
            self._task_handler.cancel()

    def _end_our_half(self) -> bool:
        """End as `_linger` does, without a task. Return True if the other side has time to close, too."""
        self._leave()
        if self._waiter is not None:
            self._waiter.cancel()
        if self.transport is None or not self.transport.can_write_eof():
            self.force_close()  # TLS says goodbye by itself
            return False
        self.transport.write_eof()
        self._resume_transport_reading()
        self._loop.call_later(_LINGER_SECONDS, self.force_close)
        return True

    async def _linger(self) -> None:
        """Close our half, and read on until the other side has closed, too.

        Bytes that are unread at a close turn it into a reset, which takes the answer with it (RFC 9112, section 9.6).
        """
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
