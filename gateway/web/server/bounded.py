"""An aiohttp server with every bound set, and the sockets that it listens on. aiohttp bounds almost nothing by itself."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import http_parser, web

from gateway.config.listen import Address, Inherited, Tcp, Unix
from gateway.core.errors import ListenError
from gateway.core.networks import network_of
from gateway.host.environment import Environment
from gateway.host.systemd import listening_sockets
from gateway.observability.logs import KnownReason
from gateway.web.server.accepting import Arrival, Site, bind, bind_unix
from gateway.web.server.connection import UNFINISHED_SECONDS, Connection, Parting
from gateway.web.server.places import MOST_CONNECTIONS, Places
from gateway.web.server.tls import Tls

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

BOUNDS: dict[str, Any] = {
    "keepalive_timeout": 15.0,  # aiohttp's own is an hour; it also ends a connection that sends no request
    "lingering_time": 1.0,
    "auto_decompress": False,  # one gzip bomb, refused with 415, would stall the loop for seconds otherwise
    "max_line_size": 8190,
    "max_field_size": 8190,
    "access_log": None,  # halves the throughput; the audit log and the metrics say more
}
"""A misspelt name would drop them all silently, so a test reads them back from a live connection."""

SENDERS = Parting(fresh=1.0, kept=2.0, unfinished=UNFINISHED_SECONDS, open=math.inf)
OPERATORS = Parting(fresh=0.0, kept=0.0, unfinished=1.0)
"""A stop waits for no command whose body never comes."""

_BACKLOG = 1024
_MOST_PARKED = 1024
"""Connections beyond their peers' share that are held, unread, until their peers have a place. Beyond that the peer with most of
them loses its oldest."""
_LOOK_SECONDS = 0.02
"""Seconds from one look at who has waited for long enough to the next, while somebody waits for a place."""
_SEATED_AT_ONCE = 8
"""Connections that get a place in one look: each costs a tenth of a millisecond, and those who work notice no more."""
_SWEEP_SECONDS = 0.05
"""Seconds from one look of a drain at who may go to the next."""


class GaveWay(KnownReason):
    """Why a connection was ended that had done nothing wrong: `server` is full, or its `peer` has its share of places."""


class BoundedServer(web.Server):
    """aiohttp's low-level server: bounded in connections, and without the signals and the router of an application."""

    def __init__(
        self,
        handler: Handler,
        logger: logging.Logger,
        *,
        parting: Parting = SENDERS,
        peer_of: Callable[[str], str | None] = network_of,
        keep: Callable[[list[socket.socket]], int] | None = None,
    ) -> None:
        """
        Args:
            parting: how long a drain waits for those who are connected.
            peer_of: the peer that an address, or UNIX, counts for; None counts for nobody.
            keep: hands sockets on to the next process, see Systemd.keep; None where nobody can.
        """
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ListenError("aiohttp's C parser is not loaded, and its Python one is not meant for the open: reinstall aiohttp")
        super().__init__(handler, handler_cancellation=False, logger=logger, **BOUNDS)
        self.logger = logger
        self.parting = parting
        self.peer_of = peer_of
        self._keep = keep
        self.places: Places[Connection] = Places()
        self.draining = False
        self._began_to_drain = 0.0
        self._closed = False
        self._parked: dict[str | None, deque[Arrival]] = {}
        self._paused: list[Callable[[], None]] = []
        self._look: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    # --- places

    def takes_more(self) -> bool:
        """Whether to take a connection out of the kernel: there is a place, or somebody who gives way."""
        if self._closed:
            return False
        return len(self.places) < MOST_CONNECTIONS or self.places.who_gives_way_to(None, self._loop.time()) is not None

    def resume_when_free(self, resume: Callable[[], None]) -> None:
        """Call it, once, when there may be a place again."""
        self._paused.append(resume)
        self._look_soon()

    def arrive(self, arrival: Arrival) -> None:
        """Give a place to a connection that was accepted, or hold it until its peer has one."""
        if arrival.peer in self._parked or not self._seat(arrival):
            if sum(map(len, self._parked.values())) >= _MOST_PARKED:
                self._shed()
            self._parked.setdefault(arrival.peer, deque()).append(arrival)
            self._look_soon()

    def dismiss(self, connection: web.RequestHandler) -> None:
        """Let another one have its place; may be called again."""
        assert isinstance(connection, Connection)
        if connection in self.places:
            self.places.leave(connection)
        if self.draining and not self.places and not self._parked:
            self._empty.set()

    def count_for(self, connection: Connection, peer: str | None) -> None:
        """Count its place for whom a proxy sends."""
        self.places.count_for(connection, peer)
        if self.places.has_surplus:
            self._go_on()

    def _seat(self, arrival: Arrival) -> bool:
        now = self._loop.time()
        if not self.places.room_for(arrival.peer):
            oldest = self.places.who_gives_way_to(arrival.peer, now)
            if oldest is None:
                return False
            self._end(oldest, "peer" if len(self.places) < MOST_CONNECTIONS else "server")
        connection = Connection(self, arrival.peer, arrival.accepted, loop=self._loop, **self._kwargs)
        self.places.take(connection)
        arrival.seat(arrival.accepted, connection)
        return True

    def _end(self, connection: Connection, why: str) -> None:
        self.logger.warning("gave way", exc_info=GaveWay(why))
        self.places.leave(connection)
        connection.give_way()

    def _shed(self) -> None:
        largest = max(self._parked, key=lambda peer: len(self._parked[peer]))
        self.logger.warning("gave way", exc_info=GaveWay("peer"))
        self._parked[largest].popleft().accepted.close()
        if not self._parked[largest]:
            del self._parked[largest]

    def _look_soon(self) -> None:
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_SECONDS, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        self._go_on()

    def _go_on(self) -> None:
        """Seat those who wait, as far as there are places for them."""
        for connection in self.places.surplus(self._loop.time()):
            self._end(connection, "peer")
        seated = 0
        for peer, waiting in list(self._parked.items()):
            while waiting and seated < _SEATED_AT_ONCE and self._seat(waiting[0]):
                waiting.popleft()
                seated += 1
            # Whoever got a place goes to the end, so that every peer has its turn.
            del self._parked[peer]
            if waiting:
                self._parked[peer] = waiting
            if seated == _SEATED_AT_ONCE:
                break
        if self._paused and self.takes_more():
            paused, self._paused = self._paused, []
            for resume in paused:
                resume()
        if not self._closed and (self._parked or self._paused or self.places.has_surplus):
            self._look_soon()

    # --- aiohttp's side

    def __call__(self) -> Connection:
        raise TypeError("Site accepts the connections: an asyncio server would take them beyond the places")

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.dismiss(handler)

    # --- the end

    async def say_goodbye(self, held_up: Callable[[], bool] = lambda: False) -> None:
        """Tell those who keep a connection, by their next answer, that it ends; others are taken and answered meanwhile.

        Args:
            held_up: whether something else holds the stop up anyway.
        """
        self._begin_to_drain()
        kept = list(self.places)
        while (self._drains_within(self.parting.kept) and any(one in self.places for one in kept)) or (
            self._drains_within(self.parting.open) and held_up()
        ):
            await self._sweep()

    async def drain(self) -> None:
        """Wait until every request that has begun is answered. aiohttp's own shutdown would stop reading their bodies.

        Connections that are idle then go on to the next process, if there is somebody to keep them meanwhile.
        """
        self._begin_to_drain()
        while self.places or self._parked:
            if self._parked or any(connection.movable() is None for connection in self.places):
                await self._sweep()
            elif not self._hand_over():
                self._keep = None
                await self._sweep()

    def cut(self) -> None:
        """End every connection now, and every one that still comes. Those that are idle go on to the next process."""
        self._closed = True
        self._hand_over()
        if self._look is not None:
            self._look.cancel()
        for waiting in self._parked.values():
            for arrival in waiting:
                arrival.accepted.close()
        self._parked.clear()
        for connection in self.places:
            connection.cut()

    def _hand_over(self) -> bool:
        """Hand all connections that are idle on to the next process; return whether it will get them all."""
        if self._keep is None:
            return False
        movable = {connection: held for connection in self.places if (held := connection.movable()) is not None}
        number = self._keep(list(movable.values()))
        for connection in list(movable)[:number]:
            self.places.leave(connection)
            connection.give_way()
        return number == len(movable)

    def _begin_to_drain(self) -> None:
        if not self.draining:
            self.draining = True
            self._began_to_drain = self._loop.time()

    def _drains_within(self, seconds: float) -> bool:
        return self._loop.time() - self._began_to_drain < seconds

    async def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.places:
            if connection.may_go(now, self._began_to_drain, self.parting):
                if self._keep is not None and connection.movable() is not None:
                    continue
                if connection.idle():
                    connection.part()
                else:
                    connection.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SWEEP_SECONDS):
                await self._empty.wait()
        self._empty.clear()


async def stop_listening(runner: web.BaseRunner) -> None:
    """Take no connection any more; those that were taken stay. A socket of systemd goes on collecting them for the next start."""
    for site in list(runner.sites):
        await site.stop()


def go_on_with(runner: web.BaseRunner, kept: Sequence[socket.socket], tls: Tls | None) -> None:
    """Serve connections that the process before has left idle: plain ones, since no other can change its process."""
    server = runner.server
    assert isinstance(server, BoundedServer)
    site = Site(runner, server, [], None, _BACKLOG)
    for one in kept:
        try:
            address = one.getpeername()
        except OSError:  # it has ended meanwhile
            one.close()
            continue
        if tls is not None and one.family != socket.AF_UNIX:
            one.close()  # it came before there was a certificate
        else:
            site.take(one, address)


async def listen(runner: web.BaseRunner, address: Address, environment: Environment, tls: Tls | None = None) -> str:
    """Start listening; the address as it came to be. Raises ListenError, naming it.

    Unix sockets stay plain, those of systemd too: who connects to them is on this host.
    """
    server = runner.server
    assert isinstance(server, BoundedServer)
    try:
        match address:
            case Tcp(host=host, port=port):
                sockets = bind(host, port)
                address = Tcp(host, sockets[0].getsockname()[1])
            case Unix(path=path):
                sockets = [bind_unix(path)]
            case Inherited(name=name):
                sockets = listening_sockets(name, environment)
        for one in sockets:
            await Site(runner, server, [one], None if one.family == socket.AF_UNIX else tls, _BACKLOG).start()
        if isinstance(address, Unix):
            address.path.chmod(0o660)
    except OSError as error:
        raise ListenError(f"can't listen on {address}: {error.strerror or error}") from error
    return str(address)
