"""The listeners of webhooks and of the admin API: opened one after the other, drained and stopped together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from msgspec import structs

from gateway.config.addresses import Inherited, parse_address
from gateway.core.networks import network_of
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd, passed_names
from gateway.observability.logs import Log, RateLimited
from gateway.web.server.bounded import BoundedServer, Handler
from gateway.web.server.drain_times import DrainTimes
from gateway.web.server.listen import go_on_with, listen, stop_listening
from gateway.web.server.short_way import ShortWay
from gateway.web.server.tls import Tls

_CLEANUP_SECONDS = 0.5
"""Seconds for aiohttp to let go of connections that are drained or cut already; the gateway itself does the drain."""


class Listeners:
    """Every listener of the process."""

    def __init__(self, base: Path, *, environment: Environment, systemd: Systemd, clock: Clock, log: Log) -> None:
        """`base` is the folder that relative paths of unix sockets start from."""
        self._base = base
        self._environment = environment
        self._systemd = systemd
        self._clock = clock
        self._log = log
        self._open: list[tuple[web.ServerRunner, BoundedServer]] = []
        self._used: set[str] = set()
        """Names of sockets of systemd."""

    async def open(
        self,
        what: str,
        handler: Handler,
        texts: list[str],
        *,
        drain: DrainTimes,
        peer_of: Callable[[str], str | None] = network_of,
        tls: Tls | None = None,
        keeps: bool = False,
        short_way: ShortWay | None = None,
    ) -> list[str]:
        """Listen on all addresses, and return them with the ports that were chosen. Raises ListenError.

        Args:
            what: the listener's name in the log.
            texts: addresses, as the configuration writes them.
            drain: how long a stop waits for its connections.
            peer_of: see BoundedServer.
            keeps: go on with connections that the process before us left idle, and leave ours to the next one.
            short_way: see BoundedServer.
        """
        logger = logging.Logger("aiohttp.server")
        logger.addHandler(RateLimited(self._log.bind(what=what), self._clock.monotonic))
        keep = self._systemd.keep if keeps and self._systemd.keeps else None
        addresses = [parse_address(text, self._base) for text in texts]
        if not all(isinstance(address, Inherited) for address in addresses):
            # A socket of our own closes when the stop begins: senders go elsewhere at once.
            drain = structs.replace(drain, open=0.0)
        server = BoundedServer(handler, logger, drain_times=drain, peer_of=peer_of, keep=keep, short_way=short_way)
        runner = web.ServerRunner(server, shutdown_timeout=_CLEANUP_SECONDS)
        self._open.append((runner, server))
        await runner.setup()
        opened = []
        for address in addresses:
            if isinstance(address, Inherited):
                self._used.add(address.name)
            opened.append(await listen(runner, address, self._environment, tls))
            self._log.info("gateway.listening", what=what, address=opened[-1])
        if keeps:
            go_on_with(runner, self._systemd.take_kept(self._environment), tls)
        return opened

    def warn_of_unused_sockets(self) -> None:
        """Log each socket that systemd passed on and that no listener uses: connections would wait there without end."""
        for name in sorted(passed_names(self._environment) - self._used):
            do = f'listen on "fd:{name}", or take it out of the socket unit'
            self._log.warning("gateway.socket_unused", name=name, do=do)

    async def drain(self, seconds: float, held_up: Callable[[], bool]) -> None:
        """Answer the requests that have begun, and end every connection by its answer; then take no new ones.

        Args:
            seconds: the time after which the caller will cut the connections.
            held_up: returns True while something else holds the stop up anyway. Until then the gateway goes on to take senders
                out of the sockets of systemd, where they would wait for the next process.
        """
        await asyncio.gather(*(_drain(*listener, seconds, held_up) for listener in self._open))

    async def close(self) -> None:
        """End every connection that is still open, now."""
        for runner, server in self._open:
            await stop_listening(runner)
            server.cut()
            await runner.cleanup()


async def _drain(runner: web.ServerRunner, server: BoundedServer, seconds: float, held_up: Callable[[], bool]) -> None:
    server.drain_times = server.drain_times.within(seconds)
    await server.say_goodbye(held_up)
    await stop_listening(runner)
    await server.drain()
