"""The short way of a plain request: its answer is computed by callbacks, without a task, a stream and aiohttp's request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from gateway.web.responses import PlainAnswer
from gateway.web.server.plain_request import PlainRequest


class ShortWay(Protocol):
    """Answers plain requests."""

    def take(self, request: PlainRequest, connection: web.RequestHandler, answer: Callable[[PlainAnswer], None]) -> bool:
        """Answer a request by calling `answer` once, at once or later; False leaves it to aiohttp. Never raises."""
        ...
