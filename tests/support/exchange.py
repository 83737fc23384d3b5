"""HTTP byte by byte: requests that no client library would send, and answers as they came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.webhooks import PATH

Headers = Sequence[tuple[str, str | bytes]]


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes
    seconds: float
    """The time from the first byte sent to the last byte read."""
    continued: bool
    """A 100 Continue came before this answer."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> dict[str, Any]:
        assert self.header("content-type") in ("application/json", "application/json; charset=utf-8"), self
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the word in the body that says what happened."""
        found = self.json()
        return self.status, str(found["error"] if "error" in found else found["status"])


def request_bytes(body: bytes, headers: Headers = (), *, path: str = PATH, method: str = "POST", length: bool = True) -> bytes:
    """A request as it goes over the wire: nothing is normalized, and doubled headers stay doubled.

    A request to the admin listener gets a `Content-Type` if it has none, because the API changes nothing without one.
    """
    if path.startswith(("/api/", "/-/")) and "content-type" not in [name.lower() for name, _ in headers]:
        headers = [("Content-Type", "application/json"), *headers]
    head = bytearray(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode("utf-8", "surrogateescape"))
    if length:
        head += b"Content-Length: %d\r\n" % len(body)
    for name, value in headers:
        head += name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return bytes(head) + b"\r\n" + body


async def exchange(address: tuple[str, int] | Path, *parts: bytes, seconds: float = 60.0, **options: Any) -> Answer:
    """Open a connection, send the parts and read one answer. Raises ConnectionError if it was closed without an answer.

    `options` are those of `asyncio.open_connection`: `ssl`, `server_hostname`, `local_addr`.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await (
            asyncio.open_unix_connection(address, **options)
            if isinstance(address, Path)
            else asyncio.open_connection(*address, **options)
        )
        started = time.monotonic()
        try:
            try:
                for part in parts:
                    writer.write(part)
                    await writer.drain()
            except ConnectionError:
                pass  # the other side stopped reading; its answer may be there all the same
            return await read_answer(reader, started)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader, started: float) -> Answer:
    """Read one answer. `started` is the monotonic time from which its `seconds` count."""
    continued = False
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"closed after {len(error.partial)} bytes") from None
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        status = int(first.split(" ")[1])
        if status != 100:
            break
        continued = True
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    body = await reader.readexactly(length) if length and status != 204 else b""
    return Answer(status, headers, body, time.monotonic() - started, continued)
