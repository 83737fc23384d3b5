"""Gives places to connections: seats those that arrive, parks those beyond their peer's share, ends those that give way.

Knows no HTTP: `bounded` makes the connections, `accepting` takes them out of the listening sockets.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from gateway.observability.logs import KnownReason
from gateway.web.server.places import MOST_CONNECTIONS, Holder, Places

_MOST_PARKED = 1024
"""Connections beyond their peers' share that are held, unread, until their peers have a place. Beyond that number, the peer with
most of them loses its oldest."""
_LOOK_SECONDS = 0.02
"""Seconds between two looks at which holder has kept us waiting for too long, while a connection waits for a place."""
_SEATED_AT_ONCE = 8
"""Connections that get a place in one look. Each costs a tenth of a millisecond, so that the others do not notice."""


class Occupant(Holder, Protocol):
    """A connection that can be told to leave its place."""

    def give_way(self) -> None:
        """End at once: another connection needs the place."""
        ...


C = TypeVar("C", bound=Occupant)


class Arrival(Struct, Generic[C], frozen=True):
    """A connection that was accepted and has no place yet."""

    accepted: socket.socket
    peer: str | None
    """See `Holder.peer`."""
    seat: Callable[[socket.socket, C], None]
    """Hands the socket over to a protocol that has a place."""


class GaveWay(KnownReason):
    """The reason why a connection was ended that did nothing wrong: the `server` is full, or its `peer` has its share."""


class Seating(Generic[C]):
    """The places of one server, and the queue for them."""

    def __init__(self, make: Callable[[Arrival[C]], C], *, peer_of: Callable[[str], str | None], logger: logging.Logger) -> None:
        """
        Args:
            make: builds the protocol of a connection that gets a place.
            peer_of: the peer that an address, or UNIX, counts for; None counts for no peer.
        """
        self.places: Places[C] = Places()
        self.peer_of = peer_of
        self.logger = logger
        self.draining = False
        """Every answer ends its connection."""
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._parked: dict[str | None, deque[Arrival[C]]] = {}
        self._paused: list[Callable[[], None]] = []
        self._look: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    @property
    def parked(self) -> int:
        """Connections that were accepted and wait for a place."""
        return sum(map(len, self._parked.values()))

    @property
    def paused(self) -> bool:
        """True while a listener leaves its connections in the kernel."""
        return bool(self._paused)

    def takes_more(self) -> bool:
        """Return True if a connection may be taken out of the kernel: a place is free, or a holder gives way."""
        if self._closed:
            return False
        return len(self.places) < MOST_CONNECTIONS or self.places.who_gives_way_to(None, self._loop.time()) is not None

    def resume_when_free(self, resume: Callable[[], None]) -> None:
        """Call the function, once, when there may be a place again."""
        self._paused.append(resume)
        self._look_soon()

    def arrive(self, arrival: Arrival[C]) -> None:
        """Give a place to a connection that was accepted, or hold it until its peer has one."""
        if arrival.peer in self._parked or not self._seat(arrival):
            if self.parked >= _MOST_PARKED:
                self._shed()
            self._parked.setdefault(arrival.peer, deque()).append(arrival)
            self._look_soon()

    def dismiss(self, connection: C) -> None:
        """Free the place of a connection; may be called again."""
        if connection in self.places:
            self.places.leave(connection)
        if self.draining and not self.places and not self._parked:
            self._empty.set()

    def count_for(self, connection: C, peer: str | None) -> None:
        """Count a place for the peer that a proxy names."""
        self.places.count_for(connection, peer)
        if self.places.has_surplus:
            self._go_on()

    async def empty_within(self, seconds: float) -> None:
        """Wait until no connection has or wants a place, at most so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        self._empty.clear()

    def close(self) -> None:
        """Take no connection any more, and close those that are parked."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        for waiting in self._parked.values():
            for arrival in waiting:
                arrival.accepted.close()
        self._parked.clear()

    def _seat(self, arrival: Arrival[C]) -> bool:
        now = self._loop.time()
        if not self.places.room_for(arrival.peer):
            oldest = self.places.who_gives_way_to(arrival.peer, now)
            if oldest is None:
                return False
            self._end(oldest, "peer" if len(self.places) < MOST_CONNECTIONS else "server")
        connection = self._make(arrival)
        self.places.take(connection)
        arrival.seat(arrival.accepted, connection)
        return True

    def _end(self, connection: C, why: str) -> None:
        self.logger.warning("gave way", exc_info=GaveWay(why))
        self.places.leave(connection)
        connection.give_way()

    def _shed(self) -> None:
        """Close the oldest parked connection of the peer that has most of them."""
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
        """Seat connections that wait, as far as there are places for them."""
        for connection in self.places.surplus(self._loop.time()):
            self._end(connection, "peer")
        seated = 0
        for peer, waiting in list(self._parked.items()):
            while waiting and seated < _SEATED_AT_ONCE and self._seat(waiting[0]):
                waiting.popleft()
                seated += 1
            # A peer that got a place goes to the end, so that every peer has its turn.
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
