"""The way through an HTTP proxy: which proxy a sink has, a tunnel to the server behind it, and what its refusals mean.

The login is for the proxy alone: a request inside a tunnel never carries it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from msgspec import structs

from gateway import __version__
from gateway.core.outcome import Reason, Retry
from gateway.core.proxies import Proxy, parse_proxy
from gateway.core.secrets import SecretRef
from gateway.core.urls import UrlError, place_of
from gateway.sinks.base import Opening
from gateway.sinks.net.address_guard import AddressGuard, BlockedAddress
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.http_answer import AnswerReader, NotHttpError
from gateway.sinks.net.http_connection import Origin
from gateway.sinks.net.http_failures import ProxyError, status_text, unreached

PROXY_AUTHENTICATION_REQUIRED = 407
"""A proxy asks for a login (RFC 9110, section 15.5.8)."""
_UNAUTHORIZED = 401
"""The answer of tinyproxy to a wrong login, in place of 407."""
_PIECE = 4096


def configured(written: str | SecretRef | None, opening: Opening) -> Proxy | None:
    """Return the proxy that the key `proxy` of a sink names. Raises ValueError, which quotes no part of a secret."""
    if written is None:
        return None
    try:
        return parse_proxy(opening.secret(written).reveal() if isinstance(written, SecretRef) else written)
    except UrlError as error:
        raise ValueError(f"proxy {error}") from None


class ProxyDialler:
    """Dials the servers of one sink through its proxy: by a tunnel for TLS, and else the proxy itself, which gets whole URLs."""

    def __init__(self, dialler: Dialler, proxy: Proxy) -> None:
        self._dialler = dialler
        self._proxy = proxy

    async def dial(self, origin: Origin) -> socket.socket:
        """Return a connected, non-blocking socket, which the caller owns.

        Raises:
            BlockedAddress: the host of the origin is an address that no sink may dial.
            ProxyError: the proxy cannot be reached, or opens no tunnel.
        """
        host, port, secure = origin
        check_target(host)
        try:
            dialled = await self._dialler.dial(self._proxy.host, self._proxy.port)
        except (OSError, UnicodeError) as error:
            outcome = unreached(error, self._proxy.host, self._proxy.port)
            raise ProxyError(structs.replace(outcome, detail=f"the proxy: {outcome.detail}")) from error
        if secure:
            await open_tunnel(dialled, self._proxy, host, port)
        return dialled


def check_target(host: str) -> None:
    """Raise BlockedAddress if a host is written as an address that no sink may dial. Only the proxy learns those of a name."""
    try:
        allowed = AddressGuard().allows(host)
    except ValueError:  # a name
        return
    if not allowed:
        raise BlockedAddress


async def open_tunnel(dialled: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask a proxy to connect a socket to a server (RFC 9110, section 9.3.6). If it does not, close the socket.

    Raises ProxyError if there is no tunnel.
    """
    reader = AnswerReader(most_body=0, to_connect=True)
    try:
        await _ask(dialled, _connect_head(proxy, host, port), reader)
        if (refused := _refusal(reader, proxy, place_of(host, port))) is not None:
            raise ProxyError(refused)
    except NotHttpError:
        dialled.close()
        raise ProxyError(Retry(Reason.PROTOCOL, f"the proxy {proxy.place} does not speak HTTP", sink_wide=True)) from None
    except BaseException:
        dialled.close()
        raise


def login_refused(proxy: Proxy, status: int) -> Retry:
    """Return the outcome of an answer by which a proxy asks for a login. Every message would meet it, until a person acts."""
    said = "refuses the login in the key proxy" if proxy.password is not None else "asks for a login; write it into the key proxy"
    return Retry(Reason.REJECTED, f"the proxy {proxy.place} {said} ({status_text(status)})", sink_wide=True)


async def _ask(dialled: socket.socket, head: bytes, reader: AnswerReader) -> None:
    """Send a CONNECT request, and read its answer until it decides, or until the connection ends. Raises NotHttpError."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.sock_sendall(dialled, head)
        while not _has_decided(reader) and (data := await loop.sock_recv(dialled, _PIECE)):
            reader.feed(data)


def _refusal(reader: AnswerReader, proxy: Proxy, place: str) -> Retry | None:
    """Return why a proxy opens no tunnel to `place`; None if it does.

    A 5xx status says that the proxy could not reach the place, which may change. Any other refusal is a rule of the proxy, which
    every message would meet.
    """
    status = reader.status
    if status is None or not _has_decided(reader):
        return Retry(Reason.RESET, f"the proxy {proxy.place} closed the connection before its answer")
    if _is_tunnel(status) and reader.surplus:  # no server speaks before the client begins TLS (RFC 8446, section 2)
        return Retry(Reason.PROTOCOL, f"the proxy {proxy.place} sent bytes before TLS began", sink_wide=True)
    if _is_tunnel(status):
        return None
    if status in (PROXY_AUTHENTICATION_REQUIRED, _UNAUTHORIZED):
        return login_refused(proxy, status)
    said = status_text(status)
    if status >= 500:
        return Retry(Reason.CONNECT, f"the proxy {proxy.place} did not reach {place} ({said})")
    return Retry(Reason.REJECTED, f"the proxy {proxy.place} refuses a tunnel to {place} ({said}); allow it there", sink_wide=True)


def _has_decided(reader: AnswerReader) -> bool:
    """Return whether a refusal has come, or else the whole head of an answer that opens a tunnel."""
    return reader.done or (reader.status is not None and not _is_tunnel(reader.status))


def _is_tunnel(status: int) -> bool:
    return 200 <= status < 300


def _connect_head(proxy: Proxy, host: str, port: int) -> bytes:
    """Return a CONNECT request; its target is always host and port (RFC 9112, section 3.2.3)."""
    authority = place_of(host, port)
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: legitmark-gateway/{__version__}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
