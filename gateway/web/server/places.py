"""The places for connections: who holds one, how many a peer may hold, and who gives way. Knows no socket and no loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

MOST_CONNECTIONS = 512
MOST_OF_A_PEER = MOST_CONNECTIONS // 4
"""Places that one peer may hold: the others stay free for everybody else, whatever it does."""
PATIENCE_SECONDS = 1.0
"""A connection is not taken for idle before that: its request may be on its way."""


class Holder(Protocol):
    """What holds a place."""

    peer: str | None
    """Who has it, see `network_of`; None is not counted: a trusted proxy, or a unix socket."""
    since: float
    """When its last step began, on the loop's clock: it was accepted, its handshake was done, its head or its body began, it was
    answered."""
    proven: bool
    """Its last request was an authentic webhook."""

    def waits(self) -> bool:
        """Whether the other side has to do the next step."""
        ...

    def unread(self) -> bool:
        """Whether the kernel holds bytes of it that nobody has read yet."""
        ...


H = TypeVar("H", bound=Holder)


class Places(Generic[H]):
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
        """Count a place for another peer from now on: a proxy has told for whom it sends."""
        if holder not in self._all:
            return
        self._forget_peer(holder)
        holder.peer = peer
        if peer is not None:
            self._of.setdefault(peer, OrderedDict())[holder] = None

    def room_for(self, peer: str | None) -> bool:
        return len(self._all) < MOST_CONNECTIONS and (peer is None or len(self._of.get(peer, ())) < MOST_OF_A_PEER)

    def who_gives_way_to(self, peer: str | None, now: float) -> H | None:
        """Return the holder that has kept us waiting for longest; None where nobody has, or there is room.

        A peer that holds its share makes room itself. Of the others, connections that proved themselves come last.
        """
        if self.room_for(peer):
            return None
        own = self._of.get(peer) if peer is not None else None
        return self._oldest(own if own is not None and len(own) >= MOST_OF_A_PEER else self._all, now)

    def surplus(self, now: float) -> list[H]:
        """Return those that give way because proxies told that their peers hold more than their share."""
        found = []
        for held in self._of.values():
            if len(held) > MOST_OF_A_PEER and (oldest := self._oldest(held, now)) is not None:
                found.append(oldest)
        return found

    @property
    def has_surplus(self) -> bool:
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
