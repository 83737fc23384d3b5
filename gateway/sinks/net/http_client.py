"""One bounded HTTP request and the meaning of its answer, for the sinks that speak HTTP and for other clients. Retries nothing.

It follows no redirect, keeps no cookie, decompresses nothing, and reads nothing from the environment. A request is sent once: if
a kept connection turns out to be lost after the request was written, that was the attempt, because the other side may have acted
on it.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.proxies import Proxy
from gateway.core.urls import UrlError, parse_url
from gateway.host.deadlines import Deadlines
from gateway.sinks.base import Deadline
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.excerpt import Excerpts
from gateway.sinks.net.http_answer import MOST_BODY, AnswerReader, NotHttpError
from gateway.sinks.net.http_connection import Dial, Pool
from gateway.sinks.net.http_failures import failure, status_text, unreached
from gateway.sinks.net.http_request import RequestHeads
from gateway.sinks.net.proxy import PROXY_AUTHENTICATION_REQUIRED, ProxyDialler, login_refused
from gateway.sinks.net.trust import of_host

_READ_SECONDS = 2.0
"""Seconds for the rest of an answer whose status is known, or less if the attempt ends before. A slow body must not change the
verdict. A caller that needs the body gives it more."""
_MOST_URLS = 16


class Answer(Struct, frozen=True):
    status: int
    retry_after: str | None
    body: bytes
    """The beginning of the body, by default 16 KiB; empty if it came too slowly. It may repeat our secrets: never log it."""
    excerpts: Excerpts | None = None

    @property
    def excerpt(self) -> str:
        """The part of the body that a person may see."""
        return "" if self.excerpts is None else self.excerpts.of(self.body)

    def outcome(self, now: float, reject_on: Collection[int] = ()) -> Outcome:
        """Return the outcome of a status: 2xx delivers, 429 and 503 with a readable `Retry-After` defer, and the rest is a retry.

        Args:
            now: Unix seconds, UTC.
            reject_on: the statuses that are final.
        """
        status = self.status
        if 200 <= status < 300:
            return Delivered(status=status)
        said = status_text(status)
        if status in (429, 503) and (after := seconds_after(self.retry_after, now)) is not None:
            return Defer(Reason.RATE_LIMITED if status == 429 else Reason.UNAVAILABLE, after, said, status, self.excerpt)
        if status in reject_on:
            return Reject(Reason.HTTP_STATUS, said, status, self.excerpt)
        return Retry(Reason.HTTP_STATUS, said, status, self.excerpt)


class Transport:
    """The requests of one sink, over a pool of connections."""

    def __init__(
        self,
        guard: AddressGuard,
        concurrency: int,
        timeout: float,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        secrets: Collection[str] | None = None,
        most_answer: int = MOST_BODY,
        read_seconds: float = _READ_SECONDS,
        proxy: Proxy | None = None,
    ) -> None:
        """
        Args:
            concurrency: the most connections; a pool that is smaller than the lane's slots costs seconds at p99.
            timeout: seconds, for a request as a whole.
            headers: the header fields of every request.
            tls: None trusts the authorities of this host.
            secrets: every secret that is sent. With None there are no excerpts of answers, because one could repeat a secret.
            most_answer: bytes of an answer's body that are read.
            read_seconds: seconds for the rest of an answer whose status is known.
            proxy: the proxy that every request goes through; the guard then decides about its address.
        """
        self._guard = guard
        self._concurrency = concurrency
        self._timeout = timeout
        self._headers = headers or {}
        self._tls = tls
        self._excerpts = None if secrets is None else Excerpts([*secrets, *(proxy.secrets if proxy is not None else [])])
        self._proxy = proxy
        self._most_answer = most_answer
        self._read_seconds = read_seconds
        self._pool: Pool | None = None
        self._deadlines = Deadlines()
        self._heads: dict[tuple[str, str], RequestHeads] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline | None = None) -> Answer | Retry:
        return await self.request("POST", url, body, headers, deadline)

    async def request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline | None = None
    ) -> Answer | Retry:
        """Send one request. Return a Retry if no status came back. The path and query of the URL are sent byte for byte.

        Args:
            headers: the header fields of this request alone, none of which is one of every request.
            deadline: the end of the attempt, and so of this request, if the attempt began before it.
        """
        reader, deadline = AnswerReader(self._most_answer), deadline or Deadline(self._timeout)
        try:
            heads = self._heads_of(method, url)
            failed = await self._deadlines.keep(self._send(heads, body, headers, reader, deadline), deadline.at)
        except TimeoutError:
            failed = Retry(Reason.TIMEOUT, "no answer in time")
        except UrlError as error:
            failed = Retry(Reason.DNS, f"the URL can't be dialled: it {error.wrong}", sink_wide=True)
        if failed is not None and reader.status is None:
            return failed
        assert reader.status is not None
        if reader.status == PROXY_AUTHENTICATION_REQUIRED and self._proxy is not None and self._heads_of(method, url).alone:
            return login_refused(self._proxy, reader.status)
        return Answer(reader.status, reader.retry_after, bytes(reader.body), self._excerpts)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    async def _send(
        self, heads: RequestHeads, body: bytes, headers: Mapping[str, str], reader: AnswerReader, deadline: Deadline
    ) -> Retry | None:
        head = heads.head(len(body), headers)
        if head is None:
            return Retry(Reason.PROTOCOL, "a header holds a line break or a NUL, and is not sent; check headers and secrets")
        if self._pool is None:
            self._pool = Pool(self._dial(), self._concurrency, self._tls or of_host)
        async with self._pool.places:
            try:
                connection = await self._pool.take(heads.origin)
            except (OSError, UnicodeError) as error:
                return unreached(error, heads.origin[0], heads.origin[1], self._proxy)
            try:
                await connection.exchange(head, body, reader, lambda: deadline.spare(self._read_seconds))
            except (NotHttpError, OSError) as error:
                return failure(error)
            if heads.alone:
                connection.close()
            elif reader.reusable:
                self._pool.give_back(heads.origin, connection)
        return None

    def _dial(self) -> Dial:
        dialler = Dialler(self._guard)
        if self._proxy is not None:
            return ProxyDialler(dialler, self._proxy).dial
        return lambda origin: dialler.dial(origin[0], origin[1])

    def _heads_of(self, method: str, url: str) -> RequestHeads:
        """Return the heads of requests to a URL. Raises UrlError."""
        heads = self._heads.get((method, url))
        if heads is None:
            heads = RequestHeads(method, parse_url(url), self._headers, self._proxy)
            if len(self._heads) < _MOST_URLS:
                self._heads[method, url] = heads
        return heads


def seconds_after(value: str | None, now: float) -> float | None:
    """Return the wait of a `Retry-After` in seconds (RFC 9110, 10.2.3); None if it is neither a number nor a date."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])
    try:
        date = parsedate_to_datetime(value)  # naive if it names no zone: an HTTP date is UTC (RFC 9110, 5.6.7)
        return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None
