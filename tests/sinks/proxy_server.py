"""A strict HTTP proxy on loopback, as RFC 9110 and RFC 9112 describe one. It asks for a login if a test wants that."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence

from tests.sinks.http_server import Heard, answer, read_request
from tests.sinks.tcp_server import Server

_PIECE = 65_536
_HOP_BY_HOP = ("connection", "proxy-authorization", "keep-alive", "te", "upgrade")
"""Fields that a proxy does not pass on (RFC 9110, sections 7.6.1 and 11.7.2)."""


class ProxyServer(Server):
    """A proxy for the servers of this machine. It answers 400 to whatever the two standards do not allow."""

    def __init__(
        self,
        login: str | None = None,
        refuse: Callable[[Heard], bytes | None] = lambda heard: None,
        established: Sequence[bytes] = (b"HTTP/1.1 200 Connection established\r\n\r\n",),
    ) -> None:
        """
        Args:
            login: `user:password`, which clients have to send.
            refuse: returns the bytes that answer a request in place of its service; None serves it. Empty bytes answer nothing
                and keep the connection open.
            established: the pieces of the answer that opens a tunnel.
        """
        super().__init__(self._converse)
        self._login = None if login is None else f"Basic {base64.b64encode(login.encode()).decode()}"
        self._refuse = refuse
        self._established = established
        self.heard: list[Heard] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self.heard.append(request)
            said = self._refuse(request)
            if said == b"":
                await reader.read()
                return
            if said is None:
                said = self._complaint(request)
            if said is not None:
                writer.write(said)
                await writer.drain()
                continue
            if request.line.startswith(b"CONNECT "):
                await self._tunnel(request, reader, writer)
                return
            await self._forward(request, writer)

    def _complaint(self, request: Heard) -> bytes | None:
        """Return the refusal of a request; None if it is as the standards say."""
        method, target, version = request.line.decode("ascii").split(" ")
        authority = target if method == "CONNECT" else target.partition("://")[2].partition("/")[0]
        if version != "HTTP/1.1" or request.header("host") != authority:  # RFC 9112, section 3.2
            return answer(400)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            if not host or not port.isdigit() or request.header("content-length") is not None:  # RFC 9110, section 9.3.6
                return answer(400)
        elif not target.startswith("http://"):  # RFC 9112, section 3.2.2
            return answer(400)
        if self._login is not None and request.header("proxy-authorization") != self._login:
            return answer(407, proxy_authenticate='Basic realm="test"')
        return None

    async def _tunnel(self, request: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = request.line.decode().split(" ")[1].rpartition(":")
        try:
            from_server, to_server = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(answer(502))
            return
        for piece in self._established:
            writer.write(piece)
            await asyncio.sleep(0)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, to_server))
                group.create_task(_pump(from_server, writer))
        except* OSError:
            pass
        finally:
            to_server.close()

    async def _forward(self, request: Heard, writer: asyncio.StreamWriter) -> None:
        method, target, _ = request.line.decode().split(" ")
        authority, _, path = target.removeprefix("http://").partition("/")
        host, _, port = authority.rpartition(":")
        fields = [f"{name}: {value.decode()}" for name, value in request.headers if name not in _HOP_BY_HOP]
        head = "\r\n".join([f"{method} /{path} HTTP/1.1", *fields, "connection: close", "via: 1.1 test", "", ""])
        try:
            from_server, to_server = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(answer(502))
            return
        to_server.write(head.encode() + request.body)
        status = (await from_server.readline()).split(b" ")[1]
        writer.write(answer(int(status), b"from the server"))
        to_server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
