"""The answers of both listeners: JSON, as a response of aiohttp, and as bytes for requests that aiohttp never sees."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway import SERVER

_HEADERS = {"Content-Type": "application/json", "Server": SERVER}
_ACK_HEAD = (
    b"HTTP/1.1 200 OK\r\n%bServer: "
    + SERVER.encode()
    + b"\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)


def json_response(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """Encode a body as JSON; the given headers stand beside the content type and the name of this server."""
    return web.Response(status=status, body=msgspec.json.encode(body), headers={**_HEADERS, **headers} if headers else _HEADERS)


def text_response(body: bytes, content_type: str) -> web.Response:
    """Answer 200 with a text that is encoded already."""
    return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})


class PlainAnswer(Struct, frozen=True):
    """An answer in JSON that is complete before it is sent."""

    status: int
    body: bytes
    at: float
    """The instant for the header Date (Unix seconds, UTC)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers beside those that every answer has."""
    closes: bool = False
    """The connection ends with this answer."""

    def response(self) -> web.Response:
        """Return the answer for aiohttp to send, to a request of any form."""
        made = web.Response(status=self.status, body=self.body, headers={**_HEADERS, **dict(self.headers)})
        if self.closes:
            made.force_close()
        return made

    def encoded(self, *, closes: bool) -> bytes:
        """Return the answer to a plain request, byte for byte as aiohttp would send it.

        Args:
            closes: tell that the connection ends with this answer.
        """
        if self.status == HTTPStatus.OK:
            ending = b"Connection: close\r\n" if closes else b""
            return _ACK_HEAD % (ending, _http_date(int(self.at)), len(self.body), self.body)
        head = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            *(f"{name}: {value}" for name, value in (*_HEADERS.items(), *self.headers)),
            f"Content-Length: {len(self.body)}",
            f"Date: {_http_date(int(self.at)).decode()}",
            *(["Connection: close"] if closes else []),
        ]
        return "\r\n".join((*head, "", "")).encode() + self.body


class Ack(web.StreamResponse):
    """The 200 of a webhook, for an HTTP/1.1 request whose connection stays open; it is written in one piece.

    aiohttp builds a response from parts that this one never has (cookies, streams, compression, hooks), and that costs more
    than to verify the message. This class skips aiohttp's constructor, so none of those parts exist.
    """

    def __init__(self, answer: PlainAnswer) -> None:
        self._answer = answer
        self._stays_open = True

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    def force_close(self) -> None:
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        transport.write(self._answer.encoded(closes=not self._stays_open))

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""


@lru_cache(maxsize=4)
def _http_date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
