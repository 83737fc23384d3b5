"""Accepts connections from the listening sockets by hand: only as many as the server has places for; the rest stay in the kernel.

asyncio's own servers accept without end, and report a connection only after its handshake, which may take a minute.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

from gateway.core.networks import UNIX
from gateway.observability.logs import KnownReason
from gateway.web.server.client_connection import ClientConnection
from gateway.web.server.seating import Arrival, Seating
from gateway.web.server.tls import CLOSING_SECONDS, Tls

_LAST_HANDSHAKE_SECONDS = 1.0
"""Seconds for handshakes under way when the listener stops."""
_ACCEPTED_AT_ONCE = 16
_OUT_OF_RESOURCES_SECONDS = 1.0
"""Seconds that a listener rests when the kernel has no descriptor or no memory for a connection."""


class Site(web.BaseSite):
    """Listens on sockets. A connection holds its place from its acceptance on, so one that hangs in its handshake counts."""

    def __init__(
        self,
        runner: web.BaseRunner,
        seating: Seating[ClientConnection],
        sockets: list[socket.socket],
        tls: Tls | None,
        backlog: int,
    ) -> None:
        super().__init__(runner, backlog=backlog)
        self._seating = seating
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
        """Serve an accepted connection; its address is as the socket module gives it."""
        accepted.setblocking(False)
        peer = self._seating.peer_of(address[0] if isinstance(address, tuple) else UNIX)
        self._seating.arrive(Arrival(accepted, peer, self._seat))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._seating.takes_more():
                self.pause()
                self._seating.resume_when_free(self.resume)
                return
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory: the socket would report itself as ready again and again
                self._seating.logger.warning("accept", exc_info=error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_OUT_OF_RESOURCES_SECONDS, self._go_on, listener)
                return
            self.take(accepted, address)

    def _go_on(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            self._loop.add_reader(listener, self._accept, listener)

    def _seat(self, accepted: socket.socket, connection: ClientConnection) -> None:
        task = self._loop.create_task(self._make(accepted, connection), name="handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _make(self, accepted: socket.socket, connection: ClientConnection) -> None:
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
            self._seating.logger.warning("handshake", exc_info=BadHandshake("timeout"))
        except ConnectionError:
            pass  # a client that hangs up this early has sent nothing, and is often the health check of a load balancer
        except OSError as error:  # some of OpenSSL's errors are OSErrors
            self._seating.logger.warning("handshake", exc_info=BadHandshake(getattr(error, "reason", None) or "unknown"))
        finally:
            if not done:
                accepted.close()
                self._seating.dismiss(connection)

    def _cut(self) -> None:
        for handshake in list(self._handshakes):
            handshake.cancel()


class BadHandshake(KnownReason):
    """One kind of error for all reasons of OpenSSL (`HTTP_REQUEST`, `TLSV1_ALERT_UNKNOWN_CA`): strangers cause one log line."""
