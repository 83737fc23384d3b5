"""A web server of somebody else, whose pages try things on the gateway."""

from __future__ import annotations

from aiohttp import web

from tests.support.receivers import Receiver


class Stranger(Receiver):
    """A server on a port of its own that serves the HTML that a test gives it, and records every request."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}
        """HTML by path, with the status that a `Receiver` answers; each other path is answered as a `Receiver` does."""

    def origin(self, host: str = "127.0.0.1") -> str:
        """Scheme, host and port. The browser of the tests finds this server under every name below `.example`, too."""
        return f"http://{host}:{self.port}"

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = await super().answer(request)
        if (page := self.pages.get(request.path)) is not None:
            return web.Response(status=answer.status, text=page, content_type="text/html", charset="utf-8")
        return answer
