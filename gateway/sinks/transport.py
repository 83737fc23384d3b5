"""One bounded HTTP request, and what its answer means. Shared by the sinks that speak HTTP; retries nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from gateway import __version__
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.sinks.base import Deadline
from gateway.sinks.excerpt import Excerpts
from gateway.sinks.guard import BlockedAddress, Guard, lookup, words
from gateway.sinks.tls import refused
from gateway.threads import detached

_MOST_READ = 16 * 1024
"""Bytes of an answer."""
_READ_SECONDS = 2.0
"""For the body of an answer whose status is known already, and less where the attempt ends before: the verdict has come, a
slow body must not turn it."""
_CONNECT_SECONDS = 10.0


class _Resolver(AbstractResolver):
    """aiohttp's own one asks in a pool of threads that all sinks share."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=info[4][0], port=port, family=info[0], proto=info[2], flags=socket.AI_NUMERICHOST)
            for info in await detached(lambda: lookup(host, port), f"dns:{host}")
        ]

    async def close(self) -> None:
        """Nothing is kept."""


class Answer(Struct, frozen=True):
    status: int
    retry_after: str | None
    body: bytes
    """At most 16 KiB of it; empty where it came too slowly. It may repeat our secrets: never log it."""
    excerpts: Excerpts | None = None

    @property
    def excerpt(self) -> str:
        """What a person may see of the body."""
        return "" if self.excerpts is None else self.excerpts.of(self.body)

    def outcome(self, now: float, reject_on: Collection[int] = ()) -> Outcome:
        """2xx is delivered; 429 and 503 with a readable `Retry-After` defer; all else is a retry, or final where ruled so."""
        status, said = self.status, _status_text(self.status)
        if 200 <= status < 300:
            return Delivered(status=status)
        if status in (429, 503) and (after := seconds_after(self.retry_after, now)) is not None:
            return Defer(Reason.RATE_LIMITED if status == 429 else Reason.UNAVAILABLE, after, said, status, self.excerpt)
        if status in reject_on:
            return Reject(Reason.HTTP_STATUS, said, status, self.excerpt)
        return Retry(Reason.HTTP_STATUS, said, status, self.excerpt)


class _Lost(aiohttp.ClientConnectionError):
    """A connection ended before its answer came."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Else aiohttp sends a PUT once more on its own, when the connection that it had kept is lost: an attempt is one request."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost from error


class Transport:
    """A pool of connections of one sink. Follows no redirect, keeps no cookie, takes no proxy from the environment."""

    def __init__(
        self,
        guard: Guard,
        concurrency: int,
        timeout: float,
        *,
        tls: ssl.SSLContext | None = None,
        secrets: Collection[str] | None = None,
    ) -> None:
        """
        Args:
            timeout: seconds, of a request as a whole.
            tls: None believes the authorities of this host.
            secrets: all that are sent. Without them no excerpt of an answer is made: it could repeat one.
        """
        self._guard = guard
        self._tls = tls
        self._excerpts = None if secrets is None else Excerpts(secrets)
        self._concurrency = concurrency
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | Retry:
        return await self.request("POST", url, body, headers)

    async def request(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | Retry:
        """Send one request; a Retry where no status came back."""
        deadline = Deadline(self._timeout)
        try:
            async with self._opened().request(method, url, data=body, headers=headers, allow_redirects=False) as response:
                said = await _beginning(response, deadline.spare(_READ_SECONDS))
                return Answer(response.status, response.headers.get("Retry-After"), said, self._excerpts)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return failure(error)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._concurrency,  # a smaller pool than the lane's slots costs seconds at p99
                ssl=self._tls or ssl.create_default_context(),
                socket_factory=self._guard.open_socket,
                resolver=_Resolver(),
                ttl_dns_cache=10,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=min(self._timeout, _CONNECT_SECONDS)),
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type", "Accept-Encoding"),
                headers={"User-Agent": f"legitmark-gateway/{__version__}"},
                middlewares=(_once,),
            )
        return self._session


def seconds_after(value: str | None, now: float) -> float | None:
    """The wait of a `Retry-After` in seconds, from a number or a date (RFC 9110, 10.2.3); None where it is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])
    try:
        date = parsedate_to_datetime(value)  # naive where it names no zone: an HTTP date is UTC (RFC 9110, 5.6.7)
        return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def failure(error: Exception) -> Retry:
    """The reason why no answer came. Details are ours: an error's own text can hold bytes of the other side."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match error:
        case _ if isinstance(cause, BlockedAddress):
            return Retry(Reason.BLOCKED, "the address is one that this sink may not dial; see allow_networks")
        case TimeoutError():
            return Retry(Reason.TIMEOUT, "no answer in time")
        case UnicodeError():
            return Retry(Reason.DNS, "the host in the URL is no name that DNS could have")
        case aiohttp.ClientConnectorDNSError():
            return Retry(Reason.DNS, f"{error.host} has no address")
        case aiohttp.ClientConnectorCertificateError():
            return Retry(Reason.TLS, f"the certificate of {error.host} was refused: {_certificate_words(error)}")
        case _ if any(refused(one) for one in _causes(error)):
            return Retry(Reason.TLS, "the other side refused our client certificate, or asks for one; see certificate")
        case aiohttp.ClientSSLError():
            return Retry(Reason.TLS, f"TLS with {error.host} failed")
        case aiohttp.ClientConnectorError():
            return Retry(Reason.CONNECT, f"{error.host}:{error.port}: {words(error.os_error)}")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError():
            return Retry(Reason.RESET, "the connection was closed before an answer")
        case _:
            return Retry(Reason.PROTOCOL, "the answer is not HTTP")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def _beginning(response: aiohttp.ClientResponse, seconds: float) -> bytes:
    """What has come of the body, and what comes within so many seconds."""
    read = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while len(read) < _MOST_READ and (chunk := await response.content.read(_MOST_READ - len(read))):
                read += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    if not response.content.at_eof():
        response.close()
    return bytes(read)


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _certificate_words(error: aiohttp.ClientConnectorCertificateError) -> str:
    inner = error.certificate_error
    return inner.verify_message if isinstance(inner, ssl.SSLCertVerificationError) else "not valid for this host"
