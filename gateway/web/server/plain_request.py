"""Reads the one form of request that nearly every webhook has, and declines every other form. Bytes in; no loop and no socket.

The form is a strict part of RFC 9112: a POST to a plain path, header lines in one strict form, and a body whose length is given
and which ends where the bytes end. Anything that parsers may read differently (request smuggling) is outside of it. For each
request that is read here, aiohttp's parser would read the same; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_HEAD = re.compile(
    rb"POST ((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9!#$%&'*+.^_`|~-]++: [!-~]++(?: ++[!-~]++)*+\r\n)++)\r\n"
)
"""A path without an escape, a query and dot segments, and then lines of `Name: value` in ASCII, with one space and no tab."""
_FIELD = re.compile(rb"([^:]++): ([^\r]++)\r\n")
_LENGTH = re.compile(rb"[1-9][0-9]{0,8}")
_LONGEST_HEAD = 8000
"""Bytes; with that, no line and no field goes beyond the bounds of the server."""
_MOST_FIELDS = 100
_NOT_PLAIN = frozenset(
    (
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"proxy-connection",  # llhttp reads it like Connection
        b"http2-settings",
        b"sec-websocket-key1",  # aiohttp refuses it
    )
)
"""Names in lower case that change how the request or what follows it is read."""


class PlainRequest(Struct, frozen=True):
    """A POST that is here as a whole, on a connection that stays open."""

    path: str
    raw_headers: tuple[tuple[bytes, bytes], ...]
    """Names and values in order, as they came."""
    fields: Mapping[bytes, bytes]
    """The values by name in lower case; no name came twice."""
    body: bytes


def read(data: bytes) -> PlainRequest | None:
    """Return the request if the bytes are exactly one of the plain form; None leaves them to aiohttp."""
    head = _HEAD.match(data)
    if head is None or (end := head.end()) > _LONGEST_HEAD:
        return None
    raw_headers = _FIELD.findall(head[2])
    fields = {name.lower(): value for name, value in raw_headers}
    if not len(fields) == len(raw_headers) <= _MOST_FIELDS or not _NOT_PLAIN.isdisjoint(fields):
        return None
    length = fields.get(b"content-length", b"")
    if b"host" not in fields or _LENGTH.fullmatch(length) is None or int(length) != len(data) - end:
        return None
    if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return PlainRequest(head[1].decode(), tuple(raw_headers), fields, data[end:])
