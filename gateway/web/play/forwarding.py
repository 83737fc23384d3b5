"""Passes a request on to a local server of the developer, as it came, and returns that server's answer."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from types import TracebackType

import aiohttp
from aiohttp import hdrs
from msgspec import Struct
from multidict import CIMultiDict

from gateway.core.caught_requests import CaughtRequest, Forwarded
from gateway.host.clock import Clock

SECONDS = 30.0
"""Seconds that the server has for its answer, as many as Legitmark's documentation names."""
MOST_ANSWER = 256 * 1024
"""Bytes of its answer that are passed back."""
_MOST_CONNECTIONS = 512
_OF_A_CONNECTION = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-length")
)
"""Fields that are about one connection, and are made anew for the next one (RFC 9110, section 7.6.1)."""
_NOT_ASKED_FOR = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)
"""Fields that aiohttp would add by itself."""


class LocalAnswer(Struct, frozen=True):
    """The answer of the local server."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Forwarder:
    """Sends to one URL; it is open inside `async with`. It follows no redirect, keeps no cookie, and uses no proxy."""

    def __init__(self, url: str, clock: Clock, seconds: float = SECONDS) -> None:
        self.url = url
        self._clock = clock
        self._seconds = seconds

    async def __aenter__(self) -> Forwarder:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ASKED_FOR,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()

    async def forward(self, request: CaughtRequest) -> tuple[Forwarded, LocalAnswer | None]:
        """Send a request with its method, body and headers as they came; only Host and the fields of the connection are new.

        Never raises for an answer or for the lack of one; the second value is None if there was none.
        """
        started = self._clock.monotonic()
        headers, left_out = _passed_on(request.headers)
        answer, detail = None, ""
        try:
            async with self._session.request(
                request.method, self.url, data=request.body, headers=headers, allow_redirects=False
            ) as response:
                body, whole = await _beginning(response)
                answer = LocalAnswer(response.status, _passed_back(response), body)
                detail = "" if whole else f"its answer was cut after {MOST_ANSWER // 1024} KiB"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            detail = _trouble(error, self._seconds)
        if left_out:
            detail = "; ".join(filter(None, (detail, f"not passed on, because it is not UTF-8: {', '.join(left_out)}")))
        seconds = self._clock.monotonic() - started
        return Forwarded(seconds, None if answer is None else answer.status, detail), answer


def _passed_on(raw: Sequence[tuple[bytes, bytes]]) -> tuple[CIMultiDict[str], list[str]]:
    """Return the fields to send, and the names of those that cannot be sent."""
    named = {
        word.strip().lower()
        for name, value in raw
        if name.lower() == b"connection"
        for word in value.decode("latin-1").split(",")
    }
    headers: CIMultiDict[str] = CIMultiDict()
    left_out = []
    for raw_name, raw_value in raw:
        name = raw_name.decode("ascii", "replace")
        if name.lower() in _OF_A_CONNECTION or name.lower() in named or name.lower() == "host":
            continue
        try:
            headers.add(name, raw_value.decode())
        except UnicodeDecodeError:
            left_out.append(name)
    return headers, left_out


def _passed_back(response: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [
        (name, value) for name, value in response.headers.items() if name.lower() not in _OF_A_CONNECTION | {"date", "server"}
    ]


async def _beginning(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Return the body up to the bound, and True if that is all of it."""
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > MOST_ANSWER:
            response.close()
            return bytes(read[:MOST_ANSWER]), False
    return bytes(read), True


def _trouble(error: Exception, seconds: float) -> str:
    """Return why no answer came, in words of our own: the text of an error may hold bytes of the other side."""
    match error:
        case TimeoutError():
            return f"no answer within {seconds:g} s"
        case aiohttp.ClientConnectorDNSError():
            return "its host has no address"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted here"
        case aiohttp.ClientSSLError():
            return "the TLS handshake failed; is it http://?"
        case aiohttp.ClientConnectorError():
            return f"nothing listens there ({os.strerror(error.os_error.errno or errno.ECONNREFUSED)})"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "it closed the connection without an answer"
        case aiohttp.InvalidURL():
            return "its URL cannot be dialled"
    return "its answer is not HTTP"
