"""Tells whether the bytes that a connection has received end where a request ends. Sees the parser's results, never a socket.

aiohttp's parser does not say whether it holds the beginning of a next head. In doubt, this module assumes that it does.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import streams
from aiohttp.http_parser import RawRequestMessage

_END = b"\r\n\r\n"
"""The end of a head, and of a body in chunks (RFC 9112, sections 2.1 and 7.1)."""

_TAIL = slice(1 - len(_END), None)


class Framing:
    """The place in the stream of requests that one connection has reached."""

    def __init__(self) -> None:
        self.half = False
        """True while a head has begun and is not complete."""
        self._body: streams.StreamReader | None = None
        """The body that is not complete yet."""
        self._chunked = False
        self._before = 0
        """Bytes of that body that came earlier."""
        self._tail = b""
        """The last bytes of a head that is not complete, because its end may arrive in two pieces."""

    def received(self, data: bytes, begun: Sequence[tuple[object, streams.StreamReader]]) -> None:
        """Note bytes that were parsed.

        Args:
            data: the bytes; empty if the parser went on with requests that it had kept back.
            begun: the messages whose heads these bytes completed, with their bodies.
        """
        if self._body is None and not begun:
            self.half = self.half or bool(data)
            self._tail = (self._tail + data)[_TAIL]
            return
        end = self._end(data, begun)
        if begun:
            message, self._body = begun[-1]
            self._chunked = isinstance(message, RawRequestMessage) and message.chunked
        assert self._body is not None
        whole = self._body.is_eof()
        self.half = whole and not (data.endswith(_END) if self._chunked else end == len(data) > 0)
        self._tail = data[max(end, 0) :][_TAIL] if self.half else b""
        self._before = self._body.total_bytes
        if whole:
            self._body = None

    def _end(self, data: bytes, begun: Sequence[tuple[object, streams.StreamReader]]) -> int:
        """Return the offset in the data at which the last request ends; -1 if that is not known."""
        at = self._body.total_bytes - self._before if self._body is not None else 0
        for number, (message, body) in enumerate(begun):
            if number == 0 and self._tail:  # noqa: SIM108 (one line of both is hard to read)
                end = (self._tail + data).find(_END) - len(self._tail)
            else:
                end = data.find(_END, at)
            chunked = not isinstance(message, RawRequestMessage) or message.chunked
            if end < -len(self._tail) or (chunked and number < len(begun) - 1):
                return -1
            at = end + len(_END) + body.total_bytes
        return at
