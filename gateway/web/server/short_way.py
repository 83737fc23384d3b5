"""The short way of a plain request: its answer is computed by callbacks, without a task, a stream and aiohttp's request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web
from msgspec import Struct

from gateway.web.responses import PlainAnswer
from gateway.web.server.plain_request import PlainRequest


class Promise(Struct, frozen=True):
    """An answer that has to wait for something."""

    after: asyncio.Future[Any]
    answer: Callable[[], PlainAnswer]
    """Returns the answer, once the future is done, whatever its result is. Never raises."""


class ShortWay(Protocol):
    """Answers plain requests."""

    def take(self, request: PlainRequest, connection: web.RequestHandler) -> PlainAnswer | Promise | None:
        """Answer a request, at once or later; None leaves it to aiohttp. Never raises."""
        ...
