"""HTTP/1.1 connections that are kept between requests, and the exchange of one request and its answer.

A connection must never give one request the answer to another. It is used again only if not one byte has come since its last
answer ended. Bytes on an idle connection close it and answer nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.sinks.net.dial import CONNECT_SECONDS
from gateway.sinks.net.http_answer import AnswerReader, NotHttpError

IDLE_SECONDS = 15.0
"""Seconds for which an unused connection is kept. Servers keep one longer (nginx 75 s) or announce a shorter time (Apache, 5 s),
so that a request seldom meets a connection that is being closed."""
_GOODBYE_SECONDS = 1.0
"""Seconds for the other side to answer the end of TLS."""
_PIECE = 64 * 1024
"""Bytes that the transport gets at once; more would only wait in its buffer."""
_TURNS = 2
"""Turns of the loop until it has read the bytes that the kernel has: in the first turn it only learns of them."""

Origin = tuple[str, int, bool]
"""Host, port, and True for TLS."""
Dial = Callable[[Origin], Awaitable[socket.socket]]
"""Returns a connected, non-blocking socket on which TLS or the first request can begin. Raises OSError or UnicodeError."""


class SinkConnection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._reader: AnswerReader | None = None
        self._spare: Callable[[], float] = float
        self._answered: asyncio.Future[None] | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        """Set while the transport's buffer is full; done once there is room, or once there is nothing more to wait for."""
        self._secure = False
        self._spoken = False
        """True if the other side has sent bytes that no request asked for."""
        self._lost: BaseException | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done once the connection has ended."""
        self.idle_since = 0.0
        self.kept_for = IDLE_SECONDS

    @classmethod
    async def opened(cls, dialled: socket.socket, tls: ssl.SSLContext | None, host: str) -> SinkConnection:
        """Take over a connected socket, and begin TLS on it if wanted. Raises OSError, which includes ssl.SSLError."""
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                cls,
                sock=dialled,
                ssl=tls,
                server_hostname=None if tls is None else host.rstrip("."),
                ssl_shutdown_timeout=None if tls is None else _GOODBYE_SECONDS,
            )
        except BaseException:
            # Shut down, but not closed: a TLS transport may still hold the descriptor, and would later close a reused number.
            with suppress(OSError):
                dialled.shutdown(socket.SHUT_RDWR)
            raise
        made._socket, made._secure = dialled, tls is not None
        return made

    async def exchange(self, head: bytes, body: bytes, reader: AnswerReader, spare: Callable[[], float]) -> None:
        """Send one request, and read its answer until it is complete or its time is over. A failed or cancelled one closes it.

        Args:
            spare: returns the seconds to wait for the rest of an answer; called once its status is known.
        Raises:
            NotHttpError: the bytes are not an answer of HTTP/1, or came before the request.
            OSError: the connection ended before a status line.
        """
        try:
            if self._spoken:
                raise NotHttpError
            if self._lost is not None:
                raise self._lost
            self._reader, self._spare = reader, spare
            self._answered = self._loop.create_future()
            whole = await self._write(head, body)
            await self._answered
        except BaseException:
            self.abort()
            raise
        finally:
            self._reader = None
            if self._limit is not None:
                self._limit.cancel()
                self._limit = None
        reader.reusable &= whole
        if not reader.reusable:
            self.abort()
        elif reader.kept_for is not None:
            self.kept_for = min(IDLE_SECONDS, reader.kept_for - 1)

    def may_be_used(self, now: float) -> bool:
        """Return whether no byte has come since the last answer, not even one that the kernel has and the loop has not read."""
        if self._spoken or self._transport is None or self._transport.is_closing() or self._socket is None:
            return False
        if now - self.idle_since >= self.kept_for:
            return False
        return not self._has_unread()

    def close(self) -> None:
        """End an idle connection with the goodbye of its protocol; idempotent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once; idempotent."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, head: bytes, body: bytes) -> bool:
        """Send a request as fast as the other side reads it. Return False if an answer came before all of it was sent."""
        assert self._transport is not None
        assert self._answered is not None
        if len(head) + len(body) <= _PIECE:
            self._transport.write(head + body)
            return True
        self._transport.write(head)
        for at in range(0, len(body), _PIECE):
            for _ in range(_TURNS):
                if self._has_unread():  # a failed write would end the connection and lose the unread bytes
                    await asyncio.sleep(0)
            if self._answered.done() or self._transport.is_closing():
                return False
            self._transport.write(body[at : at + _PIECE])
            if self._room is not None:
                await self._room
        return True

    def _has_unread(self) -> bool:
        """Return whether the kernel has bytes that the loop has not read yet, or the other side has closed."""
        try:
            return self._socket is not None and self._socket.recv(1, socket.MSG_PEEK) is not None
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _read_the_rest(self) -> None:
        """Read the bytes that came before the connection broke: a failed write ends it before the loop has read an answer."""
        with suppress(OSError):
            while self._reader is not None and self._socket is not None and (data := self._socket.recv(_PIECE)):
                self.data_received(data)

    # The event loop calls the methods below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's classes

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            self._spoken = True
            self.abort()
            return
        try:
            reader.feed(data)
        except NotHttpError as error:
            self._end(error)
            self.abort()
            return
        if reader.done:
            if self._transport is not None and self._transport.get_write_buffer_size():
                reader.reusable = False  # the answer overtook its request
            self._end(None)
        elif reader.status is not None and self._limit is None:
            self._limit = self._loop.call_later(self._spare(), self._end, None)

    def eof_received(self) -> None:
        if self._reader is not None:
            self._reader.end()
            if self._reader.done:
                self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = error or ConnectionResetError()
        if not self.gone.done():
            self.gone.set_result(None)
        if not self._secure:
            self._read_the_rest()
        if self._reader is not None:
            self._reader.end()
            self._end(None if self._reader.done else self._lost)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        """End the answer. Bytes that come after it belong to no request."""
        self._reader = None
        if self._answered is not None and not self._answered.done():
            if error is None:
                self._answered.set_result(None)
            else:
                self._answered.set_exception(error)
                self._answered.exception()  # asyncio warns of errors that nothing has seen, as after a cancelled request
        self.resume_writing()


class Pool:
    """The connections of one sink: those in use, up to a limit, and the idle ones for the next request."""

    def __init__(self, dial: Dial, most: int, tls: ssl.SSLContext | Callable[[], ssl.SSLContext]) -> None:
        """Args: tls: the context, or a function that makes it for the first connection that needs it."""
        self._dial = dial
        self._places = asyncio.Semaphore(most)
        self._tls = tls
        self._idle: dict[Origin, list[SinkConnection]] = {}
        self._leaving: set[SinkConnection] = set()
        """Connections that are saying goodbye, as TLS requires."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def places(self) -> asyncio.Semaphore:
        """A semaphore for the connections in use: acquire it around `take` and `give_back`."""
        return self._places

    async def take(self, origin: Origin) -> SinkConnection:
        """Return a connection without unread bytes: a kept one, or else a new one.

        Raises:
            TimeoutError: there was no connection within 10 seconds.
            UnicodeError: the host is not a name that DNS can have.
            OSError: socket.gaierror, BlockedAddress, ProxyError, ssl.SSLError, or the last error of an address.
        """
        now = asyncio.get_running_loop().time()
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.may_be_used(now):
                return connection
            connection.abort()
        host, _, secure = origin
        async with asyncio.timeout(CONNECT_SECONDS):
            dialled = await self._dial(origin)
            return await SinkConnection.opened(dialled, self._context() if secure else None, host)

    def give_back(self, origin: Origin, connection: SinkConnection) -> None:
        """Keep a connection whose answer is complete and whose other side keeps it open."""
        loop = asyncio.get_running_loop()
        if self._closed or connection.kept_for <= 0:
            self._let_go(connection)
            return
        connection.idle_since = loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._clear)

    async def aclose(self) -> None:
        """Close idle connections within a second, and connections in use when they are given back; may be called twice."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for kept in self._idle.values():
            for connection in kept:
                self._let_go(connection)
        self._idle.clear()
        if self._leaving:
            # A loop that ends before these connections would report each as an error.
            await asyncio.wait([connection.gone for connection in self._leaving], timeout=_GOODBYE_SECONDS)
            for connection in list(self._leaving):
                connection.abort()

    def _let_go(self, connection: SinkConnection) -> None:
        self._leaving.add(connection)
        connection.gone.add_done_callback(lambda _: self._leaving.discard(connection))
        connection.close()

    def _context(self) -> ssl.SSLContext:
        if not isinstance(self._tls, ssl.SSLContext):
            self._tls = self._tls()
        return self._tls

    def _clear(self) -> None:
        """Close connections that are idle for long. All share one timer, because a timer per request costs more than the rest."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for origin, kept in list(self._idle.items()):
            staying = [connection for connection in kept if connection.may_be_used(now)]
            for connection in set(kept) - set(staying):
                self._let_go(connection)
            if staying:
                self._idle[origin] = staying
            else:
                del self._idle[origin]
        self._sweep = loop.call_later(IDLE_SECONDS, self._clear) if self._idle else None
