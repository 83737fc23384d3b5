"""TLS of our own for the listeners of webhooks: the certificate that they show, and a bounded way in through the handshake.

aiohttp's sites leave the handshake to asyncio: a minute each, and in any number, since a server hears of none before it is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from gateway import certificates
from gateway.certificates import PairError, Validity
from gateway.clock import Clock
from gateway.core.values import Secret
from gateway.metrics import Metrics
from gateway.telemetry import KnownReason, Log

if TYPE_CHECKING:
    from gateway.web.server import BoundedServer

HANDSHAKE_SECONDS = 10.0
CLOSING_SECONDS = 1.0
"""For the other side to say goodbye, too (RFC 8446, section 6.1); asyncio's own is half a minute, longer than a drain."""
_LAST_HANDSHAKE_SECONDS = 1.0
"""For handshakes under way when the listener stops."""
_ACCEPTED_AT_ONCE = 64
_OUT_OF_RESOURCES_SECONDS = 1.0
_DAY = 86400.0


class Certificate(Struct, frozen=True):
    """A certificate with its key, ready to be shown."""

    context: ssl.SSLContext
    validity: Validity

    @classmethod
    def of(cls, certificate: Secret, key: Secret) -> Certificate:
        """Raises PairError."""
        # Not `create_default_context`: that would write the keys of every connection to the file of $SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # a client could ask for one handshake after the other
        context.set_alpn_protocols(["http/1.1"])
        certificates.load_pair(context, certificate, key)
        try:
            return cls(context, certificates.validity(certificate))
        except ValueError as error:
            raise PairError("certificate", str(error)) from None


class Tls:
    """What the listeners show: `use` gives them another certificate, for the handshakes that begin from then on."""

    def __init__(self, certificate: Certificate, *, metrics: Metrics, clock: Clock, log: Log) -> None:
        self.handshake_seconds = HANDSHAKE_SECONDS
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self.use(certificate)

    @property
    def context(self) -> ssl.SSLContext:
        return self._certificate.context

    def use(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self._metrics.certificate_ends(certificate.validity.ends)

    async def run(self) -> None:
        """Warn daily, until cancelled. Not at once: what the configuration was loaded by has warned already."""
        while True:
            await self._clock.wait(asyncio.Event(), _DAY)
            self.step()

    def step(self) -> None:
        """Warn of a certificate that clients refuse, or will soon."""
        if (trouble := self._certificate.validity.trouble(self._clock.now())) is not None:
            self._log.warning("tls.certificate", trouble=trouble, do="renew it, and reload")


class TlsSite(web.BaseSite):
    """Listens on sockets, and lets each connection into the server as it is accepted: what hangs in its handshake counts, too."""

    def __init__(self, runner: web.BaseRunner, into: BoundedServer, sockets: list[socket.socket], tls: Tls, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._into = into
        self._sockets = sockets
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return f"https://{self._sockets[0].getsockname()}"

    async def start(self) -> None:
        await super().start()
        for listener in self._sockets:
            listener.setblocking(False)
            listener.listen(self._backlog)
            self._loop.add_reader(listener, self._accept, listener)

    async def stop(self) -> None:
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self._loop.call_later(_LAST_HANDSHAKE_SECONDS, self._cut)
        await super().stop()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory: it would be ready to accept again and again
                self._into.logger.warning("accept", exc_info=error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_OUT_OF_RESOURCES_SECONDS, self._go_on, listener)
                return
            connection = self._into.admit()
            if connection is None:
                accepted.close()
                continue
            task = self._loop.create_task(self._shake_hands(accepted, connection), name="handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _go_on(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            self._loop.add_reader(listener, self._accept, listener)

    async def _shake_hands(self, accepted: socket.socket, connection: web.RequestHandler) -> None:
        done = False
        try:
            accepted.setblocking(False)
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
