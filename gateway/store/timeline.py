"""The store's own time, by which deliveries are due and grow old. It never jumps, whatever the wall clock does.

Instants outside the store are wall time. Inside, `due_ms` and `since_ms` of deliveries are wall time minus all the jumps that the
wall clock ever made, so that a jump changes one number and no delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from gateway.core.drift import Learned
from gateway.core.ledger import Facts
from gateway.core.records import Claimed, Companion, NewMessage, Owed, Owes, Settlement
from gateway.core.watches import Entered, Entering, StallsTold, Timer


class Timeline:
    """Converts between wall time and the store's own time."""

    def __init__(self, jumped_ms: int, seen: float) -> None:
        """
        Args:
            jumped_ms: all jumps of the wall clock together, as the life before this one knew them.
            seen: the last instant of the wall clock in that life, Unix seconds; 0.0 if there was none.
        """
        self.jumped_ms = jumped_ms
        """Milliseconds of all jumps of the wall clock together; negative if it went back."""
        self._seen = seen

    def begin(self, now: float) -> None:
        """Begin a life at an instant of the wall clock. If that is before the end of the last life, the clock went back."""
        if now < self._seen:
            self.jump(now - self._seen)
        self._seen = now

    def jump(self, seconds: float) -> None:
        """Take note that the wall clock jumped by some seconds."""
        self.jumped_ms += round(seconds * 1000)

    def stored(self, instant: float) -> float:
        """Return an instant of the wall clock as the store keeps it."""
        return instant - self.jumped_ms / 1000 if self.jumped_ms else instant

    def shown(self, instant: float) -> float:
        """Return an instant that the store keeps by the wall clock of now."""
        return instant + self.jumped_ms / 1000 if self.jumped_ms else instant

    def new(self, new: NewMessage) -> NewMessage:
        """Return a message with the instants of its deliveries as the store keeps them."""
        if not self.jumped_ms:
            return new
        since = new.message.received_at if new.since is None else new.since
        decide = None if new.decide is None else partial(self._decide, new.decide)
        return msgspec.structs.replace(
            new,
            deliveries=self._due(new.deliveries),
            since=self.stored(since),
            decide=decide,
            companions=self.companions(new.companions),
        )

    def companions(self, companions: tuple[Companion, ...]) -> tuple[Companion, ...]:
        """Return what is committed with a message, with its instants as the store keeps them."""
        return tuple(self._companion(one) for one in companions) if self.jumped_ms else companions

    def timer(self, timer: Timer) -> Timer:
        """Return a timer with its instants by the wall clock of now."""
        return self._timer(timer, self.shown) if self.jumped_ms else timer

    def settlement(self, settlement: Settlement) -> Settlement:
        """Return a settlement with its next due time as the store keeps it."""
        due_at = settlement.transition.due_at
        if not self.jumped_ms or due_at is None:
            return settlement
        transition = msgspec.structs.replace(settlement.transition, due_at=self.stored(due_at))
        return msgspec.structs.replace(settlement, transition=transition)

    def claim(self, claim: Claimed) -> Claimed:
        """Return a claim with its instants by the wall clock of now."""
        if not self.jumped_ms:
            return claim
        next_due = None if claim.next_due is None else self.shown(claim.next_due)
        return msgspec.structs.replace(claim, owed=self.owed(claim.owed), next_due=next_due)

    def owed(self, owed: tuple[Owed, ...]) -> tuple[Owed, ...]:
        """Return deliveries with their instants by the wall clock of now."""
        if not self.jumped_ms:
            return owed
        return tuple(msgspec.structs.replace(one, since=self.shown(one.since)) for one in owed)

    def _decide(self, decide: Callable[[Facts | None], Owes], facts: Facts | None) -> Owes:
        owes = decide(facts)
        return msgspec.structs.replace(owes, deliveries=self._due(owes.deliveries))

    def _due(self, deliveries: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        return tuple([(sink, self.stored(due)) for sink, due in deliveries])

    def _companion(self, one: Companion) -> Companion:
        match one:
            case Entering():
                return msgspec.structs.replace(one, entered=_entered(one.entered, self.stored))
            case StallsTold():
                timers = tuple(self._timer(timer, self.stored) for timer in one.timers)
                return msgspec.structs.replace(one, timers=timers, at=self.stored(one.at))
            case Learned():
                return msgspec.structs.replace(one, at=self.stored(one.at))
            case _:
                return one

    def _timer(self, timer: Timer, change: Callable[[float], float]) -> Timer:
        told_at = None if timer.told_at is None else change(timer.told_at)
        return msgspec.structs.replace(timer, entered=_entered(timer.entered, change), told_at=told_at)


def _entered(entered: Entered, change: Callable[[float], float]) -> Entered:
    return msgspec.structs.replace(entered, event_at=change(entered.event_at), arrived_at=change(entered.arrived_at))
