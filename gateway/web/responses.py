"""The answers of both listeners: JSON, and the quick 200 that nearly every webhook gets."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

import msgspec
from aiohttp import web

from gateway import SERVER

_HEADERS = {"Content-Type": "application/json", "Server": SERVER}
_ACK_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: "
    + SERVER.encode()
    + b"\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)


def json_response(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """Encode a body as JSON; the given headers stand beside the content type and the name of this server."""
    return web.Response(status=status, body=msgspec.json.encode(body), headers={**_HEADERS, **headers} if headers else _HEADERS)


def text_response(body: bytes, content_type: str) -> web.Response:
    """Answer 200 with a text that is encoded already."""
    return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})


class Ack(web.StreamResponse):
    """The 200 of a webhook, for an HTTP/1.1 request whose connection stays open; it is written in one piece.

    aiohttp builds a response from parts that this one never has (cookies, streams, compression, hooks), and that costs more
    than to verify the message. This class skips aiohttp's constructor, so none of those parts exist.
    """

    def __init__(self, body: bytes, now: float) -> None:
        """
        Args:
            body: JSON.
            now: Unix seconds, UTC, for the header Date.
        """
        self._bytes = _ACK_HEAD % (_http_date(int(now)), len(body), body)
        self._stays_open = True

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    def force_close(self) -> None:
        self._stays_open = False
        self._bytes = self._bytes.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        transport.write(self._bytes)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""


@lru_cache(maxsize=4)
def _http_date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
