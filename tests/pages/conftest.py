"""A site whose gateway answers what a test says, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from gateway.core.users import Role, Visitor
from gateway.web.pages.asking import Control
from gateway.web.pages.live_streams import LIVE_PATH, LiveStreams
from gateway.web.pages.site import Pages
from tests.fakes import FakeClock
from tests.support.waiting import PATIENCE

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


class Asking:
    """Asks a site as a browser or a program does."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def answer(
        self, path: str, role: Role = Role.OPERATE, *, method: str = "GET", headers: Mapping[str, str] = BROWSER
    ) -> web.Response | None:
        request = make_mocked_request(method, path, headers)
        return cast("web.Response | None", await self._pages.handle(request, Visitor("ann", role, "token")))

    async def send(self, path: str, fields: Mapping[str, str], role: Role = Role.OPERATE) -> web.Response:
        """Send a form."""
        body = urlencode(fields).encode()
        payload = StreamReader(BaseProtocol(asyncio.get_running_loop()), 65536)
        payload.feed_data(body)
        payload.feed_eof()
        headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        request = make_mocked_request("POST", path, headers, payload=payload)
        async with asyncio.timeout(PATIENCE):
            answer = await self._pages.handle(request, Visitor("ann", role, "token"))
        assert isinstance(answer, web.Response)
        return answer

    async def html(self, path: str, role: Role = Role.OPERATE, *, status: int = 200, headers: Mapping[str, str] = BROWSER) -> str:
        answer = await self.answer(path, role, headers=headers)
        assert answer is not None and answer.status == status, answer
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        return cast(bytes, answer.body).decode()

    async def json(self, path: str, role: Role = Role.OPERATE, *, status: int = 200) -> Any:
        answer = await self.answer(path, role)
        assert answer is not None and answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        return msgspec.json.decode(cast(bytes, answer.body))


@pytest.fixture
def asking_of() -> Callable[..., Asking]:
    """Builds a site from parts of `Control`, and from why its store fails."""

    def build(*, trouble: str | None = None, **parts: Any) -> Asking:
        clock = FakeClock()
        control = Control(**{**dict.fromkeys(Control.__struct_fields__), "clock": clock, **parts})
        stop = asyncio.Event()
        live = LiveStreams(changes={LIVE_PATH: lambda: 0}, stop=stop, clock=clock)
        return Asking(Pages(control, live=live, trouble=lambda: trouble, stop=stop))

    return build
