"""A pager service on loopback."""

from __future__ import annotations

import asyncio

from tests.sinks.tcp_server import Server


class PagerService(Server):
    """Takes every page, and keeps it."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.pages: list[bytes] = []

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():
            self.pages.append(line)
            writer.write(b"ok\n")
            await writer.drain()
            await reader.read()


def saying(answer: bytes) -> Server:
    """Make a service that gives one answer to every page, and closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()

    return Server(talk)


def hanging() -> Server:
    """Make a service that reads a page and never answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    return Server(talk)
