"""An HTTP server on loopback that gives the answers a test wants, byte for byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple

from tests.sinks.tcp_server import Server, reset_connection


class Heard(NamedTuple):
    """A request as it came over the wire."""

    line: bytes
    headers: list[tuple[str, bytes]]
    """The headers, with their names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value.decode() for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


async def read_request(reader: asyncio.StreamReader) -> Heard:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head[:-4].split(b"\r\n")
    headers = [(name.decode().lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
    length = int(dict(headers).get("content-length", b"0"))
    return Heard(line, headers, await reader.readexactly(length))


def answer(status: int = 200, body: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if status >= 200 and status not in (204, 304) and "content_length" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpServer(Server):
    """Answers each request by `reply`, and keeps connections alive."""

    def __init__(self, reply: bytes | Callable[[Heard], bytes] = answer(), tls: ssl.SSLContext | None = None) -> None:  # noqa: B008
        super().__init__(self._converse, tls)
        self.reply = reply
        self.heard: list[Heard] = []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            heard = await read_request(reader)
            self.heard.append(heard)
            said = self.reply(heard) if callable(self.reply) else self.reply
            writer.write(said)
            await writer.drain()
            if b" 101 " in said or b"connection: close" in said:
                return


def after_request(*, says: bytes = b"", hang: bool = False, reset: bool = False) -> Server:
    """Make a server that reads one request, says some bytes, and then hangs until the client leaves, resets, or closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if says:
            writer.write(says)
            await writer.drain()
        if hang:
            await reader.read()
        if reset:
            reset_connection(writer)

    return Server(talk)
