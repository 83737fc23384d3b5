"""The head of a webhook request, the same whether aiohttp read it or the short way did: what the rules of the ingress look at."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from aiohttp import web
from msgspec import Struct

from gateway.core.networks import UNIX
from gateway.web.server.plain_request import PlainRequest


class Head(Struct, frozen=True):
    """The method, the path, the headers, and the address of the other end."""

    method: str
    path: str
    raw_headers: Sequence[tuple[bytes, bytes]]
    """Names and values in order, as they came."""
    fields: Mapping[bytes, bytes]
    """Values by name in lower case; the first value of a name that came several times."""
    peer: str
    """The address of the other end, or UNIX; "" if the connection has ended and the address is no longer known."""

    @classmethod
    def of(cls, request: web.BaseRequest) -> Head:
        """Return the head of a request that aiohttp read."""
        raw_headers = request.raw_headers
        fields = {name.lower(): value for name, value in reversed(raw_headers)}
        return cls(request.method, request.path, raw_headers, fields, _peer(request.protocol))

    @classmethod
    def of_plain(cls, request: PlainRequest, connection: web.RequestHandler) -> Head:
        """Return the head of a request that came the short way."""
        return cls("POST", request.path, request.raw_headers, request.fields, _peer(connection))

    def lines(self, name: str) -> list[str]:
        """Return every value of a header, in order."""
        wanted = name.lower().encode()
        if wanted not in self.fields:
            return []
        return [value.decode("utf-8", "surrogateescape") for found, value in self.raw_headers if found.lower() == wanted]

    @property
    def content_type(self) -> str | None:
        """Text that anything can take: bytes that are not UTF-8 are replaced."""
        value = self.fields.get(b"content-type")
        return value.decode("utf-8", "replace") if value is not None else None


def _peer(connection: web.RequestHandler) -> str:
    # Not `request.remote`: it is also the name of a client's own unix socket, which may look like an address.
    name = connection.peername
    if isinstance(name, tuple):
        return str(name[0])
    transport = connection.transport
    connected = transport.get_extra_info("socket") if transport is not None else None
    return UNIX if connected is not None and connected.family == socket.AF_UNIX else ""
