"""The deliveries of one lane that wait to be sent: as many as memory holds, and what is known of the others in the store.

Fresh deliveries come from memory. The store is asked only while it may hold due deliveries that memory lacks (`backlog`): at the
start, after an overflow, and when a retry comes due. Meanwhile fresh ones stay in the store, so that the oldest goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from gateway.core.records import Claimed, Owed
from gateway.delivery.memory import Account
from gateway.store.base import MOST_CLAIMED_BYTES

_MOST_READY = 256
"""Deliveries."""
_MOST_HELD = 8 * 1024 * 1024
"""Bytes, those in flight included; beyond that, fresh deliveries stay in the store until they are claimed."""


class Waiting:
    def __init__(self, memory: Account) -> None:
        """`memory` holds what waits and what is in flight, and the room for a claim that runs."""
        self.memory = memory
        self.backlog = True
        """The store may hold due deliveries that are not in memory."""
        self.seen_to = 0
        """The newest message that a claim has seen. Readers of the store see a commit before the loop hears of it, so a delivery
        that was claimed, and perhaps delivered, may be offered after that."""
        self.changes = 0
        """The number of changes to the store by other parts of the gateway. Rows read before a change are out of date."""
        self.next_due: float | None = None
        """When the store will next have a due delivery that it does not have now, as far as is known; Unix seconds."""
        self._claiming = False
        """A claim runs. What is offered meanwhile may be in its snapshot, so it stays in the store: a worker that took it from
        memory would send it a second time, or before older ones."""
        self.ready: deque[Owed] = deque()
        """The deliveries in memory, oldest first. The memory of one that is taken out stays taken until its attempt has ended."""

    def add(self, owed: Owed, *, in_order: bool) -> None:
        """Put a fresh delivery into memory, or leave it in the store for a claim.

        Args:
            in_order: deliveries go in the order of their service requests, which only the store knows.
        """
        if in_order or self._claiming or len(self.ready) >= _MOST_READY or not self.memory.has_room_for(owed.size, _MOST_HELD):
            self.backlog = True
        else:
            self.ready.append(owed)
            self.memory.take(owed.size)

    def expect(self, due: float) -> None:
        """Note that a delivery in the store comes due at an instant."""
        self.next_due = due if self.next_due is None else min(self.next_due, due)

    def is_due(self, now: float) -> bool:
        """Return whether the store has a delivery that came due since the last claim; it goes before those in memory."""
        return self.next_due is not None and self.next_due <= now

    def forget(self) -> None:
        """Drop the deliveries in memory: the store has them too, and gives them back in their order."""
        self.memory.give(sum(owed.size for owed in self.ready))
        self.ready.clear()
        self.backlog = True

    def changed(self) -> None:
        """Forget everything that was read, including a claim in progress: another part of the gateway changed the store."""
        self.changes += 1
        self.forget()

    async def refill(self, claim: Callable[[int], Awaitable[Claimed]]) -> None:
        """Put a claim into the memory, which is empty. The claim gets the bytes that it may take, and may raise."""
        changes = self.changes
        self.backlog, self.next_due, self._claiming = False, None, True
        room = min(self.memory.room, MOST_CLAIMED_BYTES)
        self.memory.take(room)
        try:
            claimed = await claim(room)
        except BaseException:
            self.backlog = True
            raise
        finally:
            self._claiming = False
            self.memory.give(room)
        self.seen_to = max(self.seen_to, claimed.seen_to)
        if changes != self.changes:
            return
        self.ready.extend(claimed.owed)
        self.memory.take(sum(owed.size for owed in claimed.owed))
        self.backlog = self.backlog or claimed.more
        if claimed.next_due is not None:
            self.expect(claimed.next_due)
