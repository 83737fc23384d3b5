"""Takes connections out of the sockets that listen, by hand: as many as the server has places for, the others stay in the kernel.

asyncio's own servers accept without end, and tell of a connection only when it is made, its handshake included: a minute each.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from gateway.core.networks import UNIX
from gateway.observability.logs import KnownReason
from gateway.web.server.tls import CLOSING_SECONDS, Tls

if TYPE_CHECKING:
    from gateway.web.server.bounded import BoundedServer

_LAST_HANDSHAKE_SECONDS = 1.0
"""Seconds for handshakes under way when the listener stops."""
_ACCEPTED_AT_ONCE = 16
_OUT_OF_RESOURCES_SECONDS = 1.0


class Arrival(Struct, frozen=True):
    """A connection that was accepted, and has no place yet."""

    accepted: socket.socket
    peer: str | None
    """See `Holder.peer`."""
    seat: Callable[[socket.socket, web.RequestHandler], None]
    """Hands it over to a protocol that has a place."""


class Site(web.BaseSite):
    """Listens on sockets. A connection holds its place from the moment it is accepted, so what hangs in its handshake counts."""

    def __init__(
        self, runner: web.BaseRunner, into: BoundedServer, sockets: list[socket.socket], tls: Tls | None, backlog: int
    ) -> None:
        super().__init__(runner, backlog=backlog)
        self._into = into
        self._sockets = sockets
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._sockets[0].getsockname()}"

    async def start(self) -> None:
        await super().start()
        for listener in self._sockets:
            listener.setblocking(False)
            listener.listen(self._backlog)
        self.resume()

    async def stop(self) -> None:
        self.pause()
        for listener in self._sockets:
            listener.close()
        self._loop.call_later(_LAST_HANDSHAKE_SECONDS, self._cut)
        await super().stop()

    def pause(self) -> None:
        """Leave connections in the kernel, which queues them."""
        for listener in self._sockets:
            self._loop.remove_reader(listener)

    def resume(self) -> None:
        for listener in self._sockets:
            self._go_on(listener)

    def take(self, accepted: socket.socket, address: object) -> None:
        """Serve a connection from an address, as the socket module gives them."""
        accepted.setblocking(False)
        peer = self._into.peer_of(address[0] if isinstance(address, tuple) else UNIX)
        self._into.arrive(Arrival(accepted, peer, self._seat))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._into.takes_more():
                self.pause()
                self._into.resume_when_free(self.resume)
                return
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory: it would be ready to accept again and again
                self._into.logger.warning("accept", exc_info=error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_OUT_OF_RESOURCES_SECONDS, self._go_on, listener)
                return
            self.take(accepted, address)

    def _go_on(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            self._loop.add_reader(listener, self._accept, listener)

    def _seat(self, accepted: socket.socket, connection: web.RequestHandler) -> None:
        task = self._loop.create_task(self._make(accepted, connection), name="handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _make(self, accepted: socket.socket, connection: web.RequestHandler) -> None:
        done = False
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    lambda: connection,
                    accepted,
                    ssl=self._tls.context,
                    ssl_handshake_timeout=self._tls.handshake_seconds,
                    ssl_shutdown_timeout=CLOSING_SECONDS,
                )
            done = True
        except ConnectionAbortedError:
            self._into.logger.warning("handshake", exc_info=BadHandshake("timeout"))
        except ConnectionError:
            pass  # who hangs up by then has sent nothing, and is often the health check of a load balancer
        except OSError as error:  # OpenSSL's are some, too
            self._into.logger.warning("handshake", exc_info=BadHandshake(getattr(error, "reason", None) or "unknown"))
        finally:
            if not done:
                accepted.close()
                self._into.dismiss(connection)

    def _cut(self) -> None:
        for handshake in list(self._handshakes):
            handshake.cancel()


class BadHandshake(KnownReason):
    """One kind whatever OpenSSL says (`HTTP_REQUEST`, `TLSV1_ALERT_UNKNOWN_CA`), so that strangers make one line of them all."""


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of a host, as `loop.create_server` makes them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                made = socket.socket(family, kind, protocol)
            except OSError:
                continue  # "localhost" where the kernel knows no IPv6
            sockets.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    except OSError:
        for made in sockets:
            made.close()
        raise
    return sockets


def bind_unix(path: Path) -> socket.socket:
    """A socket at a path, in place of the one that a process before us has left there. Raises OSError."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    return made
