"""CPU per webhook in the event loop, without disk: through aiohttp, by the short way, and in a bare aiohttp handler.

Server and client share one process and its CPU time; the client costs the same for all three. The store and the audit log answer
at once, so that the figures of the gateway differ by the way of the request and nothing else. The slices alternate; medians are
printed.

    python -m tests.benchmarks.ways [--slices 5] [--requests 4000] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from aiohttp import web

from gateway.core.records import Accepted, NewMessage, Stored
from gateway.observability.audit import AuditLog
from gateway.store.base import Lines, Told
from tests.support.exchange import request_bytes
from tests.support.webhook_listener import webhook_listener
from tests.support.webhooks import PATH, PAYLOADS, signed


class Instant:
    """A store and an audit log that do nothing, at once."""

    failing = False

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        told(Accepted(1))

    async def accept(self, new: NewMessage) -> Stored:
        return Accepted(1)

    def step(self, *of: Any, **options: Any) -> None:
        """Write no line."""

    def after(self, told: Callable[[None], None]) -> None:
        told(None)


class Client(asyncio.Protocol):
    """Sends the request again for each answer."""

    def __init__(self, raw: bytes, more: Callable[[], bool], done: asyncio.Future[None]) -> None:
        self._raw = raw
        self._more = more
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 OK\r\n"), data
        if self._more():
            self._transport.write(self._raw)
        elif not self._done.done():
            self._done.set_result(None)


def request() -> bytes:
    body = (PAYLOADS / "state_change.complete_approved.json").read_bytes()
    sender = [("User-Agent", "Svix-Webhooks/1.24.0 (sender-9YMgn; +https://www.svix.com/http-sender/)"), ("Accept", "*/*")]
    return request_bytes(body, [*sender, ("Content-Type", "application/json"), *signed(body)])


async def slice_of(address: tuple[str, int], requests: int, connections: int) -> float:
    """Return the microseconds of CPU that each request took."""
    left, done, raw = requests, asyncio.get_running_loop().create_future(), request()

    def more() -> bool:
        nonlocal left
        left -= 1
        return left > 0

    started = time.process_time()
    clients = [
        await asyncio.get_running_loop().create_connection(lambda: Client(raw, more, done), *address) for _ in range(connections)
    ]
    await done
    took = time.process_time() - started
    for transport, _ in clients:
        transport.abort()
    return took / requests * 1e6


async def bare(requests: int, connections: int) -> float:
    application = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    application.router.add_post(PATH, answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await slice_of(("127.0.0.1", int(runner.addresses[0][1])), requests, connections)
    finally:
        await runner.cleanup()


async def gateway(requests: int, connections: int, *, short: bool) -> float:
    async with webhook_listener(Instant(), cast(AuditLog, Instant()), short=short) as live:
        return await slice_of(live.address, requests, connections)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU per webhook in the event loop, by its way")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    ways: dict[str, Callable[[int, int], Coroutine[Any, Any, float]]] = {
        "a bare aiohttp handler": bare,
        "through aiohttp": partial(gateway, short=False),
        "the short way": partial(gateway, short=True),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.slices):
        for name, way in ways.items():
            took[name].append(asyncio.run(way(options.requests, options.connections)))
    for name, slices in took.items():
        print(f"{name:24} {statistics.median(slices):6.1f} microseconds")


if __name__ == "__main__":
    main()
