"""An aiohttp server with every bound set, since aiohttp bounds almost nothing by itself; and its end, which loses no request."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import http_parser, web

from gateway.core.errors import ListenError
from gateway.core.networks import network_of
from gateway.web.server.client_connection import ClientConnection
from gateway.web.server.drain_times import SENDERS, DrainTimes
from gateway.web.server.places import Places
from gateway.web.server.seating import Arrival, Seating
from gateway.web.server.short_way import ShortWay

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

BOUNDS: dict[str, Any] = {
    "keepalive_timeout": 15.0,  # aiohttp's own is an hour; it also ends a connection that sends no request
    "lingering_time": 1.0,
    "auto_decompress": False,  # one gzip bomb, refused with 415, would stall the loop for seconds otherwise
    "max_line_size": 8190,
    "max_field_size": 8190,
    "access_log": None,  # halves the throughput; the audit log and the metrics say more
}
"""aiohttp ignores a misspelt name without a word, so a test reads these bounds back from a live connection."""

_SWEEP_SECONDS = 0.05
"""Seconds between two looks of a drain at which connections may end."""


class BoundedServer(web.Server):
    """aiohttp's low-level server: bounded in connections, and without the signals and the router of an application."""

    def __init__(
        self,
        handler: Handler,
        logger: logging.Logger,
        *,
        drain_times: DrainTimes = SENDERS,
        peer_of: Callable[[str], str | None] = network_of,
        keep: Callable[[list[socket.socket]], int] | None = None,
        short_way: ShortWay | None = None,
    ) -> None:
        """
        Args:
            drain_times: how long a drain waits for those who are connected.
            peer_of: the peer that an address, or UNIX, counts for; None counts for no peer.
            keep: hands sockets on to the next process, see Systemd.keep; None if there is no one to keep them.
            short_way: answers plain requests without the handler; None leaves them all to the handler.
        """
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ListenError(
                "aiohttp's C parser is not loaded, and its Python parser must not face the internet: reinstall aiohttp"
            )
        super().__init__(handler, handler_cancellation=False, logger=logger, **BOUNDS)
        self.logger = logger
        self.drain_times = drain_times
        self.seating: Seating[ClientConnection] = Seating(self._connection, peer_of=peer_of, logger=logger)
        self._keep = keep
        self._short_way = short_way
        self._began_to_drain = 0.0

    @property
    def places(self) -> Places[ClientConnection]:
        return self.seating.places

    def __call__(self) -> ClientConnection:
        raise TypeError("Site accepts the connections: an asyncio server would take them beyond the places")

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        assert isinstance(handler, ClientConnection)
        self.seating.dismiss(handler)

    async def say_goodbye(self, held_up: Callable[[], bool] = lambda: False) -> None:
        """Tell clients that keep a connection, in their next answer, that it ends; take and answer new ones meanwhile.

        Args:
            held_up: returns True while something else holds the stop up anyway.
        """
        self._begin_to_drain()
        kept = list(self.places)
        while (self._drains_within(self.drain_times.kept) and any(one in self.places for one in kept)) or (
            self._drains_within(self.drain_times.open) and held_up()
        ):
            await self._sweep()

    async def drain(self) -> None:
        """Wait until every request that has begun is answered. aiohttp's own shutdown would stop reading their bodies.

        Connections that are idle then go on to the next process, if something keeps them meanwhile.
        """
        self._begin_to_drain()
        while self.places or self.seating.parked:
            if self.seating.parked or any(connection.movable() is None for connection in self.places):
                await self._sweep()
            elif not self._hand_over():
                self._keep = None
                await self._sweep()

    def cut(self) -> None:
        """End every connection now, and every one that still comes. Idle ones go on to the next process."""
        self._hand_over()
        self.seating.close()
        for connection in self.places:
            connection.cut()

    def _connection(self, arrival: Arrival[ClientConnection]) -> ClientConnection:
        return ClientConnection(
            self, self.seating, arrival.peer, arrival.accepted, self._short_way, loop=self._loop, **self._kwargs
        )

    def _hand_over(self) -> bool:
        """Hand all idle connections on to the next process; return True if it will get them all."""
        if self._keep is None:
            return False
        movable = {connection: held for connection in self.places if (held := connection.movable()) is not None}
        number = self._keep(list(movable.values()))
        for connection in list(movable)[:number]:
            self.places.leave(connection)
            connection.give_way()
        return number == len(movable)

    def _begin_to_drain(self) -> None:
        if not self.seating.draining:
            self.seating.draining = True
            self._began_to_drain = self._loop.time()

    def _drains_within(self, seconds: float) -> bool:
        return self._loop.time() - self._began_to_drain < seconds

    async def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.places:
            if connection.may_go(now, self._began_to_drain, self.drain_times):
                if self._keep is not None and connection.movable() is not None:
                    continue
                if connection.idle():
                    connection.part()
                else:
                    connection.cut()
        await self.seating.empty_within(_SWEEP_SECONDS)
