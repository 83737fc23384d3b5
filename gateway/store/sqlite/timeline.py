"""The store's own time, by which deliveries are due and grow old: it goes on evenly, whatever happens to the wall clock.

Instants outside the store are wall time. Inside, `due_ms` and `since_ms` of deliveries are wall time less all the jumps that the
wall clock ever made, so that a jump changes one number and no delivery.
"""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.core.records import Claim, NewMessage, Owed, Settlement
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.counting import Changes


class Timeline:
    def __init__(self, jumped_ms: int, seen: float) -> None:
        """`seen` is the last instant of the wall clock that the life before this one saw, Unix seconds; 0.0: there was none."""
        self.jumped_ms = jumped_ms
        """All jumps of the wall clock together, milliseconds; negative is back."""
        self._seen = seen

    def begin(self, now: float) -> None:
        """Begin a life at an instant of the wall clock. One before the end of the last life means that the clock went back."""
        if now < self._seen:
            self.jump(now - self._seen)
        self._seen = now

    def jump(self, seconds: float) -> None:
        """The wall clock jumped by so many seconds: from now on its instants mean others."""
        self.jumped_ms += round(seconds * 1000)

    def stored(self, instant: float) -> float:
        """An instant of the wall clock, as the store keeps it."""
        return instant - self.jumped_ms / 1000 if self.jumped_ms else instant

    def shown(self, instant: float) -> float:
        """An instant that the store keeps, by the wall clock of now."""
        return instant + self.jumped_ms / 1000 if self.jumped_ms else instant

    def new(self, new: NewMessage) -> NewMessage:
        if not self.jumped_ms:
            return new
        since = new.message.received_at if new.since is None else new.since
        deliveries = tuple((sink, self.stored(due)) for sink, due in new.deliveries)
        return msgspec.structs.replace(new, deliveries=deliveries, since=self.stored(since))

    def settlement(self, settlement: Settlement) -> Settlement:
        due_at = settlement.transition.due_at
        if not self.jumped_ms or due_at is None:
            return settlement
        transition = msgspec.structs.replace(settlement.transition, due_at=self.stored(due_at))
        return msgspec.structs.replace(settlement, transition=transition)

    def claim(self, claim: Claim) -> Claim:
        if not self.jumped_ms:
            return claim
        next_due = None if claim.next_due is None else self.shown(claim.next_due)
        return msgspec.structs.replace(claim, owed=self.owed(claim.owed), next_due=next_due)

    def owed(self, owed: tuple[Owed, ...]) -> tuple[Owed, ...]:
        if not self.jumped_ms:
            return owed
        return tuple(msgspec.structs.replace(one, since=self.shown(one.since)) for one in owed)


def read_timeline(connection: sqlite3.Connection) -> tuple[int, float]:
    """Milliseconds that the wall clock had jumped in all, and the last instant of it that was seen; (0, 0.0) at first."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'timeline'").fetchone():
        return 0, 0.0  # opened by an earlier version's scripts alone
    row = connection.execute("SELECT jumped_ms, seen_ms FROM timeline").fetchone()
    return (row[0], row[1] / 1000) if row else (0, 0.0)


def keep_time(connection: sqlite3.Connection, changes: Changes, *, jumped_ms: int, seen: float) -> None:
    """Remember how far the wall clock has jumped in all, and what it says now."""
    connection.execute("UPDATE timeline SET jumped_ms = ?, seen_ms = ?", (jumped_ms, milliseconds(seen)))
