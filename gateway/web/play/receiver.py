"""The receiver of `gateway play`: takes every request on every path, keeps it to be looked at, and answers as it was told to.

It is a tool on a developer's own host. It accepts nothing, stores nothing on disk, and its 200 promises nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from msgspec import structs
from multidict import CIMultiDict

from gateway.core.caught_requests import Answered, CaughtRequest, Forwarded, RequestRing
from gateway.host.clock import Clock
from gateway.web.play.answering import PAGE, AnswerChoice
from gateway.web.play.forwarding import Forwarder, LocalAnswer
from gateway.web.responses import json_response

MOST_BODY = 256 * 1024
"""Bytes of a body, as many as a gateway takes unless its configuration says otherwise."""
_BODY_SECONDS = 5.0
_KEPT_ANSWER = 4096
"""Bytes of an answer that are kept beside its request."""

PageHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_Reply = tuple[int, Mapping[str, str], bytes]
"""The status, the headers and the body of an answer."""
Told = Callable[[CaughtRequest], None]


class Receiver:
    """Answers every request."""

    def __init__(
        self,
        choice: AnswerChoice,
        *,
        ring: RequestRing,
        forwarder: Forwarder | None,
        page: PageHandler,
        told: Told,
        clock: Clock,
    ) -> None:
        """
        Args:
            page: answers what is at `PAGE` and below.
            told: called with each request once it is answered. It must not raise.
        """
        self._choice = choice
        self._ring = ring
        self._forwarder = forwarder
        self._page = page
        self._told = told
        self._clock = clock
        self._count = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path in (PAGE, f"{PAGE}.json") or request.path.startswith(f"{PAGE}/"):
            return await self._page(request)
        if _is_a_person(request):
            return web.Response(status=303, headers={"Location": PAGE})
        body, refusal = await _body_of(request)
        caught = self._keep(request, body)
        if refusal is not None:
            return self._answer(caught, *refusal)
        if self._forwarder is None:
            return self._answer(caught, *self._chosen(request, caught))
        forwarded, answer = await self._forwarder.forward(caught)
        caught = structs.replace(caught, forwarded=forwarded)
        if self._choice.answering.status is not None:
            return self._answer(caught, *self._chosen(request, caught))
        return self._answer(caught, *_local(forwarded, answer, self._forwarder.url))

    async def replay(self, number: int) -> Forwarded | None:
        """Forward a request once more, and keep what became of it. Return None if it has gone or there is no URL."""
        caught = self._ring.get(number)
        if caught is None or self._forwarder is None:
            return None
        forwarded, _ = await self._forwarder.forward(caught)
        self._ring.change(structs.replace(caught, forwarded=forwarded))
        return forwarded

    def _keep(self, request: web.BaseRequest, body: bytes | None) -> CaughtRequest:
        self._count += 1
        caught = CaughtRequest(
            number=self._count,
            at=self._clock.now(),
            method=request.method,
            target=request.raw_path,
            headers=tuple(request.raw_headers),
            body=body,
            length=len(body) if body is not None else request.content_length or 0,
        )
        self._ring.put(caught)
        return caught

    def _chosen(self, request: web.BaseRequest, caught: CaughtRequest) -> _Reply:
        """Return the answer that was chosen, as status, headers and body."""
        if request.method == "OPTIONS" and self._choice.answering.status is None:
            return 204, {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}, b""
        status = self._choice.answering.status or 200
        headers = {} if self._choice.answering.retry_after is None else {"Retry-After": str(self._choice.answering.retry_after)}
        if status < 300:
            made = json_response(status, {"status": "received", "number": caught.number}, headers)
        else:
            said = f"gateway play answers every request with {status}, as it was told to"
            made = json_response(status, {"error": "chosen", "detail": said}, headers)
        return status, dict(made.headers), _bytes_of(made)

    def _answer(self, caught: CaughtRequest, status: int, headers: Mapping[str, str], body: bytes) -> web.Response:
        """Keep an answer beside its request, tell about both, and return it for aiohttp to send."""
        caught = structs.replace(caught, answered=Answered(status, body[:_KEPT_ANSWER]))
        self._ring.change(caught)
        self._told(caught)
        if status == 204 or status == 304 or caught.method == "HEAD":
            body = b""
        answer = web.Response(status=status, headers=headers, body=body)
        if status in (408, 413):
            answer.force_close()  # the rest of a body that is on its way would read as the next request
        return answer


def _is_a_person(request: web.BaseRequest) -> bool:
    """Return True for a browser that asks for the beginning: its user looks for the page."""
    return request.method in ("GET", "HEAD") and request.path == "/" and "text/html" in request.headers.get("Accept", "")


async def _body_of(request: web.BaseRequest) -> tuple[bytes | None, _Reply | None]:
    """Return the body; or None, and the answer that refuses the request: too long, too slow, or not HTTP."""
    if (request.content_length or 0) > MOST_BODY:
        return None, _refusal(413, "body_too_large", f"the body has more than {MOST_BODY} bytes")
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    read = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.content.iter_any():
                read += piece
                if len(read) > MOST_BODY:
                    return None, _refusal(413, "body_too_large", f"the body has more than {MOST_BODY} bytes")
    except TimeoutError:
        return None, _refusal(408, "timeout", f"the body did not come within {_BODY_SECONDS:g} s")
    except (web.RequestPayloadError, ValueError):
        return None, _refusal(400, "bad_request", "the body is not well-formed HTTP")
    return bytes(read), None


def _local(forwarded: Forwarded, answer: LocalAnswer | None, url: str) -> _Reply:
    """Return the answer of the local server; 502 or 504 if it gave none."""
    if answer is not None:
        return answer.status, CIMultiDict(answer.headers), answer.body
    late = forwarded.detail.startswith("no answer within")
    return _refusal(504 if late else 502, "forward_failed", f"{url}: {forwarded.detail}")


def _refusal(status: int, code: str, detail: str) -> _Reply:
    made = json_response(status, {"error": code, "detail": detail})
    return status, dict(made.headers), _bytes_of(made)


def _bytes_of(made: web.Response) -> bytes:
    return made.body if isinstance(made.body, bytes) else b""
