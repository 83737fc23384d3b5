"""Legitmark's API on loopback: `GET /api/v2/sr/{uuid}` as its TypeScript SDK 0.2.0 documents it.

The answers have the form of the SDK's types `GetSRResponse` and `ErrorResponse` (src/types.ts) and of its fixtures
(tests/fixtures/sr.ts and errors.ts) at github.com/legitmark-eng/legitmark-typescript. `rc_hit` tells that an answer came from a
cache.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from aiohttp import web

KEY = "leo_pk_test_4711081547110815"
"""The only key that the API takes."""
PATH = "/api/v2/sr"


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]
    hangs: bool = False
    """The head and half of the body come, and then nothing."""


class Asked(NamedTuple):
    sr_uuid: str
    headers: dict[str, str]
    """Names in lower case."""
    at: float
    """The time by the clock of the test."""


def document(sr_uuid: str, primary: str, supplement: str | None, updated_at: str, **more: Any) -> dict[str, Any]:
    """The JSON of a service request that was found; `more` are further fields of the request."""
    request = {
        "uuid": sr_uuid,
        "micro_id": "138912",
        "active": True,
        "external_id": None,
        "tab": primary,
        "state": {"primary": primary, "supplement": supplement},
        "item": {"brand": {"uuid": "95b54167-a23f-4ca0-81c0-8cf90a3619e2", "name": "Nike"}},
        "created_at": "2026-02-06T04:48:00.000Z",
        "updated_at": updated_at,
        **more,
    }
    return {"success": True, "message": "The sr was successfully fetched.", "rc_hit": False, "sr": request}


def found(sr_uuid: str, primary: str, supplement: str | None, updated_at: str, *, cached: bool = False, **more: Any) -> Reply:
    body = document(sr_uuid, primary, supplement, updated_at, **more) | {"rc_hit": cached}
    return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def error(status: int, message: str, **headers: str) -> Reply:
    """An error; `headers` with underscores in place of dashes."""
    said = {"code": status, "timestamp": "2026-02-06T04:48:00.000Z", "message": message}
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps({"success": False, "error": said}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **given})


NOT_FOUND = error(404, "Service request not found")
NO_KEY = error(401, "Invalid or expired API key")
TOO_MANY = error(429, "Rate limit exceeded. Retry after 60 seconds.")
BROKEN = error(500, "Internal server error")


class FakeLegitmark:
    """An API that answers what a test tells it; what it was not told is not found."""

    def __init__(self, now: Callable[[], float] = float) -> None:
        """Args: now: the clock of the test."""
        self.asked: list[Asked] = []
        self.answers: dict[str, Reply | deque[Reply]] = {}
        """The answer about each service request, or several, one after the other, of which the last one stays."""
        self.url = ""
        self._now = now
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    @property
    def times(self) -> list[float]:
        return [asked.at for asked in self.asked]

    @property
    def order(self) -> list[str]:
        return [asked.sr_uuid for asked in self.asked]

    def says(self, sr_uuid: str, *replies: Reply) -> None:
        """Answer a service request like this from now on."""
        self.answers[sr_uuid] = deque(replies)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        folder, _, sr_uuid = request.path.rpartition("/")
        assert (request.method, folder, request.query_string) == ("GET", PATH, "")
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.asked.append(Asked(sr_uuid, headers, self._now()))
        if KEY not in (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")):
            return await self._send(request, NO_KEY)
        return await self._send(request, self._next(sr_uuid))

    def _next(self, sr_uuid: str) -> Reply:
        replies = self.answers.get(sr_uuid, NOT_FOUND)
        if isinstance(replies, Reply):
            return replies
        return replies.popleft() if len(replies) > 1 else replies[0]

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        if not reply.hangs:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
        await self._released.wait()
        return response
