"""The receiving end of the sinks: a server on raw asyncio protocols that answers 200 as fast as Python can.

It runs on the core of the load and parses only what it needs, the end of a request, so that what is measured is the gateway.
`GET /tally` answers what came since the start; with `--keep` it remembers when each event came, and `GET /arrivals` tells.

    python -m tests.benchmarks.receiver PORT [--keep]
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
import time
from typing import Any, cast

from msgspec import Struct

from tests.benchmarks.bare import loop_factory

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EVENT = re.compile(rb"\r\nx-gateway-sender-id: *(\S+)", re.IGNORECASE)


class Tally(Struct):
    """The requests that came. Instants are monotonic seconds, the same for all processes of a machine; 0.0 before the first."""

    received: int = 0
    first: float = 0.0
    last: float = 0.0


class Receiver:
    """The tally of all connections."""

    def __init__(self, *, keep: bool) -> None:
        self.tally = Tally()
        self.arrivals: list[tuple[str, float]] = []
        """The sender's id of each event and the instant of its arrival, one for each sink."""
        self._keep = keep

    def take(self, head: bytes) -> bytes:
        """Count a request, and return the answer."""
        if head.startswith(b"GET "):
            return self._tell(head.split(b" ", 2)[1])
        if _LENGTH.search(head) is None:
            raise ValueError(f"a request without Content-Length: {head!r}")
        now = time.monotonic()
        self.tally.received += 1
        self.tally.first = self.tally.first or now
        self.tally.last = now
        if self._keep and (event := _EVENT.search(head)) is not None:
            self.arrivals.append((event[1].decode(), now))
        return _ANSWER

    def _tell(self, path: bytes) -> bytes:
        tally = self.tally
        told: Any = self.arrivals if path == b"/arrivals" else [tally.received, tally.first, tally.last]
        body = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """A connection of a sink."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports derive from no class of asyncio

    def data_received(self, data: bytes) -> None:
        pending = self._pending + data if self._pending else data
        while (end := pending.find(b"\r\n\r\n")) >= 0:
            head = pending[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(pending) < whole:
                break
            pending = pending[whole:]
            self._transport.write(self._receiver.take(head))
        self._pending = pending


async def serve(port: int, *, keep: bool) -> None:
    receiver = Receiver(keep=keep)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(receiver), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def ask(port: int, what: str) -> Any:
    """Ask a running receiver for its `tally` or its `arrivals`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/{what}")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def tally_of(port: int) -> Tally:
    return Tally(*ask(port, "tally"))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1]), keep="--keep" in sys.argv))
