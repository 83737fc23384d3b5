"""Connections of HTTP/1.1 that are kept between requests, and what may be said over one.

A connection must never give one request the answer to another. It is used again only if not one byte has come since its last
answer ended; what comes on an idle connection closes it, and is nobody's answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from gateway.sinks.net.dial import CONNECT_SECONDS, Dialler
from gateway.sinks.net.http_answer import AnswerReader, NotHttpError

IDLE_SECONDS = 15.0
"""How long a connection is kept that nobody uses. Less than servers keep one (nginx 75 s, Apache 5 s and says so), so that a
request seldom meets a connection that is just being closed."""
_GOODBYE_SECONDS = 1.0
"""Seconds for the other side to answer the end of TLS."""
_PIECE = 64 * 1024
"""Bytes that are handed to the transport at once; more would only wait in its buffer."""
_TURNS = 2
"""Turns of the loop until it has read what the kernel has: in the first it only hears of it."""

Origin = tuple[str, int, bool]
"""Host, port, and whether it speaks TLS."""


class Connection(asyncio.Protocol):
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
        """While the transport's buffer is full; done when there is room, or nothing to wait for any more."""
        self._secure = False
        self._spoken = False
        """The other side has said something that nobody asked for."""
        self._lost: BaseException | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done once the connection has ended."""
        self.idle_since = 0.0
        self.kept_for = IDLE_SECONDS

    @classmethod
    async def opened(cls, dialled: socket.socket, tls: ssl.SSLContext | None, host: str) -> Connection:
        """Take over a connected socket, and begin TLS on it. Raises OSError, ssl.SSLError among them."""
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                cls,
                sock=dialled,
                ssl=tls,
                server_hostname=None if tls is None else host.rstrip("."),
                ssl_shutdown_timeout=None if tls is None else _GOODBYE_SECONDS,
            )
        except BaseException:
            # Ended, and not closed: a TLS transport may still hold the descriptor, and would close another's later.
            with suppress(OSError):
                dialled.shutdown(socket.SHUT_RDWR)
            raise
        made._socket, made._secure = dialled, tls is not None
        return made

    async def exchange(self, head: bytes, body: bytes, reader: AnswerReader, spare: Callable[[], float]) -> None:
        """Send one request, and read its answer until it is done or has had its time. Cancelled or failed, it is closed.

        Args:
            spare: seconds to wait for the rest of an answer, asked for once its status is known.
        Raises:
            NotHttpError: what came is no answer of HTTP/1, or came before the request.
            OSError: the connection ended before a status line.
        """
        try:
            if self._spoken:
                raise NotHttpError
            if self._lost is not None:
                raise self._lost
            self._reader, self._spare = reader, spare
            self._answered = self._loop.create_future()
            self._answered.add_done_callback(_seen)
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
        """Whether nothing has come since the last answer, not even what the kernel has and the loop has not read yet."""
        if self._spoken or self._transport is None or self._transport.is_closing() or self._socket is None:
            return False
        if now - self.idle_since >= self.kept_for:
            return False
        return not self._has_unread()

    def close(self) -> None:
        """End an idle connection as its protocol wants it; idempotent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once; idempotent."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, head: bytes, body: bytes) -> bool:
        """Send a request, as fast as the other side reads it. False: an answer came before it was sent whole."""
        assert self._transport is not None
        assert self._answered is not None
        if len(head) + len(body) <= _PIECE:
            self._transport.write(head + body)
            return True
        self._transport.write(head)
        for at in range(0, len(body), _PIECE):
            for _ in range(_TURNS):
                if self._has_unread():  # a write that fails would end the connection, and with it what is not read yet
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
        """Read what came before the connection broke: a write that failed ends it before the loop has read an answer."""
        with suppress(OSError):
            while self._reader is not None and self._socket is not None and (data := self._socket.recv(_PIECE)):
                self.data_received(data)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are none of asyncio's classes

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
        """The answer is over. What comes from here on belongs to nobody."""
        self._reader = None
        if self._answered is not None and not self._answered.done():
            if error is None:
                self._answered.set_result(None)
            else:
                self._answered.set_exception(error)
        self.resume_writing()


def _seen(answered: asyncio.Future[None]) -> None:
    """Look at an error, since a request that was cancelled no longer does, and asyncio complains of one that nobody saw."""
    if not answered.cancelled():
        answered.exception()


class Pool:
    """The connections of one sink: at most so many at once, and the idle ones for the next request."""

    def __init__(self, dialler: Dialler, most: int, tls: ssl.SSLContext | Callable[[], ssl.SSLContext]) -> None:
        """Args: tls: the context, or what makes it for the first connection that needs it."""
        self._dialler = dialler
        self._places = asyncio.Semaphore(most)
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}
        self._leaving: set[Connection] = set()
        """Those that say goodbye, as TLS wants it."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def places(self) -> asyncio.Semaphore:
        """One for each connection in use: acquire it around `take` and `give_back`."""
        return self._places

    async def take(self, origin: Origin) -> Connection:
        """A connection on which nothing was said: a kept one, else a new one.

        Raises:
            TimeoutError: no connection in 10 seconds.
            UnicodeError: the host is no name that DNS could have.
            OSError: socket.gaierror, BlockedAddress, ssl.SSLError, or the last error of an address.
        """
        now = asyncio.get_running_loop().time()
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.may_be_used(now):
                return connection
            connection.abort()
        host, port, secure = origin
        async with asyncio.timeout(CONNECT_SECONDS):
            dialled = await self._dialler.dial(host, port)
            return await Connection.opened(dialled, self._context() if secure else None, host)

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose answer ended well."""
        loop = asyncio.get_running_loop()
        if self._closed or connection.kept_for <= 0:
            self._let_go(connection)
            return
        connection.idle_since = loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._clear)

    async def aclose(self) -> None:
        """Close the idle connections within a second, and those in use when they are given back; may be called twice."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for kept in self._idle.values():
            for connection in kept:
                self._let_go(connection)
        self._idle.clear()
        if self._leaving:
            # A loop that ends before them would tell of each as of an error.
            await asyncio.wait([connection.gone for connection in self._leaving], timeout=_GOODBYE_SECONDS)
            for connection in list(self._leaving):
                connection.abort()

    def _let_go(self, connection: Connection) -> None:
        self._leaving.add(connection)
        connection.gone.add_done_callback(lambda _: self._leaving.discard(connection))
        connection.close()

    def _context(self) -> ssl.SSLContext:
        if not isinstance(self._tls, ssl.SSLContext):
            self._tls = self._tls()
        return self._tls

    def _clear(self) -> None:
        """Close what has been idle for long. One timer for all: a timer for each request would cost more than the rest of it."""
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
