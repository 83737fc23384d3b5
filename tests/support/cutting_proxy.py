"""A TCP proxy between a client and PostgreSQL that cuts a connection around a COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

Cut = Literal["before", "after"]
"""`before`: the server never sees the COMMIT. `after`: it has done it, and its answer is lost."""


class CuttingProxy:
    """It forwards everything until `cut` is set; then it ends the connection that sends the next COMMIT, once."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._port = 0
        self.cut: Cut | None = None
        self.cuts = 0
        self.stays_down = False
        """Nobody gets a connection any more once one was cut."""

    @property
    def url(self) -> str:
        """The address of the same database through the proxy."""
        return f"postgresql://{self._server.username}@127.0.0.1:{self._port}{self._server.path}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on a port of loopback."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listening:
            self._port = listening.sockets[0].getsockname()[1]
            yield

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        assert self._server.hostname is not None
        if self.stays_down and self.cuts:
            to_client.transport.abort()
            return
        server, to_server = await asyncio.open_connection(self._server.hostname, self._server.port)
        committing = asyncio.Event()

        async def forward() -> None:
            while data := await client.read(65536):
                if self.cut is not None and b"COMMIT" in data:
                    if self.cut == "before":
                        return
                    committing.set()
                to_server.write(data)

        async def answer() -> None:
            while data := await server.read(65536):
                if committing.is_set():
                    return
                to_client.write(data)

        ways = [asyncio.create_task(forward()), asyncio.create_task(answer())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if self.cut is not None and (committing.is_set() or self.cut == "before"):
            self.cut, self.cuts = None, self.cuts + 1
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (to_client, to_server):
            writer.transport.abort()
