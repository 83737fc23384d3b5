"""Sends a given number of prepared requests, as fast as the answers come or at a given rate, where wrk only stops after a time.

    python -m tests.benchmarks.sender PORT REQUESTS [--connections 64] [--rate 1000] [--keep]

It prints one JSON document. At a rate, a request counts as sent when it was due, whether or not a connection was free then:
otherwise a server that stalls would delay the requests that show it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from tests.benchmarks.bare import loop_factory
from tests.benchmarks.prepared_requests import read

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EVENT = re.compile(rb"\r\nsvix-id: (\S+)")
_TICK = 0.001
"""Seconds between two looks at which requests are due."""
_LONGEST = 300.0
"""Seconds until a run counts as stuck."""


class Sent(Struct, frozen=True):
    """The report of a run. Instants are monotonic seconds, the same for all processes of this machine."""

    begun: float
    ended: float
    statuses: dict[str, int]
    """How many answers had each status."""
    sent_at: dict[str, float]
    """The instant at which each event was sent, by the sender's id; empty without `--keep`."""


class Sender:
    """The requests that are still to be sent, and the connections that wait for one."""

    def __init__(self, requests: list[bytes], rate: float | None) -> None:
        self.sent_at: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.finished = asyncio.Event()
        self.begun = 0.0
        self._requests = requests
        self._rate = rate
        self._due = 0
        """Requests that are due, the sent ones included."""
        self._free: deque[Connection] = deque()

    async def run(self) -> None:
        """Begin, and return once every request is answered."""
        self.begun = time.monotonic()
        if self._rate is None:
            self._due = len(self._requests)
            self._send()
        while self._due < len(self._requests):
            assert self._rate is not None
            self._due = min(int((time.monotonic() - self.begun) * self._rate) + 1, len(self._requests))
            self._send()
            await asyncio.sleep(_TICK)
            if self.finished.is_set():
                break
        await self.finished.wait()
        if self.statuses.total() < len(self._requests):
            raise ConnectionError("the server closed a connection")

    def lost(self) -> None:
        """Give up, because a connection has ended. Has no effect at the end, when this process closes them."""
        self.finished.set()

    def is_free(self, connection: Connection) -> None:
        self._free.append(connection)
        self._send()

    def answered(self, connection: Connection, status: str) -> None:
        self.statuses[status] += 1
        if self.statuses.total() == len(self._requests):
            self.finished.set()
        self.is_free(connection)

    def _send(self) -> None:
        while self._free and len(self.sent_at) < self._due:
            number = len(self.sent_at)
            self.sent_at.append(time.monotonic() if self._rate is None else self.begun + number / self._rate)
            self._free.popleft().transport.write(self._requests[number])


class Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    transport: asyncio.Transport

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports derive from no class of asyncio
        self._sender.is_free(self)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        end = self._pending.find(b"\r\n\r\n")
        length = _LENGTH.search(self._pending[: end + 2]) if end >= 0 else None
        if end >= 0 and len(self._pending) >= end + 4 + (int(length[1]) if length else 0):
            status, self._pending = self._pending[9:12].decode(), b""
            self._sender.answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sender.lost()


async def run(port: int, requests: list[bytes], *, connections: int, rate: float | None, keep: bool) -> Sent:
    sender = Sender(requests, rate)
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(sender), "127.0.0.1", port) for _ in range(connections)]
    await sender.run()
    ended = time.monotonic()
    for transport, _ in made:
        transport.close()
    ids = [found[1].decode() for request in requests if (found := _EVENT.search(request))] if keep else []
    return Sent(sender.begun, ended, dict(sender.statuses), dict(zip(ids, sender.sent_at, strict=bool(ids))))


def send(port: int, requests: Path, *, connections: int = 64, rate: float | None = None, keep: bool = False) -> Sent:
    """Send the requests of a file from a process of its own. Raises RuntimeError unless every answer is a 200."""
    command = [sys.executable, "-m", __name__, str(port), str(requests), "--connections", str(connections)]
    command += ["--rate", str(rate)] if rate is not None else []
    said = subprocess.run([*command, "--keep"] if keep else command, stdout=subprocess.PIPE, check=True, timeout=_LONGEST)
    sent = msgspec.json.decode(said.stdout, type=Sent)
    if sent.statuses.keys() != {"200"}:
        raise RuntimeError(f"answers by status: {sent.statuses}")
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(description="send prepared requests")
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sent = runner.run(run(given.port, read(given.requests), connections=given.connections, rate=given.rate, keep=given.keep))
    print(json.dumps(msgspec.to_builtins(sent)))


if __name__ == "__main__":
    main()
