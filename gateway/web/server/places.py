"""The places for connections: who holds one, how many a peer may hold, and who gives way. Touches no socket and no loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

MOST_CONNECTIONS = 512
MOST_OF_A_PEER = MOST_CONNECTIONS // 4
"""Places that one peer may hold. The others stay free for other peers, whatever this one does."""
PATIENCE_SECONDS = 1.0
"""Seconds before a connection counts as idle: its request may be on its way."""


class Holder(Protocol):
    """A connection that holds a place."""

    peer: str | None
    """The peer that the place counts for, see `network_of`; None counts for no peer: a trusted proxy, or a unix socket."""
    since: float
    """The instant of the last step, on the loop's clock: accepted, handshake done, head begun, body begun, or answered."""
    proven: bool
    """True if the last request was an authentic webhook."""

    def waits(self) -> bool:
        """Return True if the other side has to do the next step."""
        ...

    def unread(self) -> bool:
        """Return True if the kernel holds bytes of this connection that the gateway has not read yet."""
        ...


H = TypeVar("H", bound=Holder)


class Places(Generic[H]):
    """The holders of the places, in the order in which they began to wait."""

    def __init__(self) -> None:
        # Both in the order of `since`, so that the oldest is found without a search.
        self._all: OrderedDict[H, None] = OrderedDict()
        self._of: dict[str, OrderedDict[H, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[H]:
        return iter(list(self._all))

    def __contains__(self, holder: object) -> bool:
        return holder in self._all

    def take(self, holder: H) -> None:
        """Give a place to a connection; see `room_for` first."""
        self._all[holder] = None
        if holder.peer is not None:
            self._of.setdefault(holder.peer, OrderedDict())[holder] = None

    def leave(self, holder: H) -> None:
        """Free its place; may be called again."""
        self._all.pop(holder, None)
        self._forget_peer(holder)

    def step(self, holder: H, now: float) -> None:
        """Note that the holder's next step begins."""
        holder.since = now
        if holder in self._all:
            self._all.move_to_end(holder)
            if holder.peer is not None:
                self._of[holder.peer].move_to_end(holder)

    def count_for(self, holder: H, peer: str | None) -> None:
        """Count a place for another peer from now on, because a proxy has named the client that it sends for."""
        if holder not in self._all:
            return
        self._forget_peer(holder)
        holder.peer = peer
        if peer is not None:
            self._of.setdefault(peer, OrderedDict())[holder] = None

    def room_for(self, peer: str | None) -> bool:
        """Return True if a place is free, and the peer has less than its share."""
        return len(self._all) < MOST_CONNECTIONS and (peer is None or len(self._of.get(peer, ())) < MOST_OF_A_PEER)

    def who_gives_way_to(self, peer: str | None, now: float) -> H | None:
        """Return the holder that has kept us waiting for longest; None if no holder has, or if there is room.

        A peer that holds its share gives way itself. Otherwise, connections that have proven themselves give way last.
        """
        if self.room_for(peer):
            return None
        own = self._of.get(peer) if peer is not None else None
        return self._oldest(own if own is not None and len(own) >= MOST_OF_A_PEER else self._all, now)

    def surplus(self, now: float) -> list[H]:
        """Return a holder of each peer that has more than its share, now that proxies have named their clients."""
        found = []
        for held in self._of.values():
            if len(held) > MOST_OF_A_PEER and (oldest := self._oldest(held, now)) is not None:
                found.append(oldest)
        return found

    @property
    def has_surplus(self) -> bool:
        """True while a peer holds more than its share."""
        return any(len(held) > MOST_OF_A_PEER for held in self._of.values())

    def _oldest(self, among: OrderedDict[H, None], now: float) -> H | None:
        proven: H | None = None
        for holder in among:
            if now - holder.since < PATIENCE_SECONDS:
                break
            if (holder.proven and proven is not None) or not holder.waits() or holder.unread():
                continue
            if not holder.proven:
                return holder
            proven = holder
        return proven

    def _forget_peer(self, holder: H) -> None:
        if holder.peer is not None and (held := self._of.get(holder.peer)) is not None:
            held.pop(holder, None)
            if not held:
                del self._of[holder.peer]
