"""The gates of a lane: a pause, the breaker, the rate, and a `Retry-After` that holds it.

A closed gate means *do not claim*, so waiting costs no attempt.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

from gateway.core import breaker
from gateway.core.breaker import BreakerPolicy, BreakerState
from gateway.core.outcome import Defer, Outcome, Reject, Retry
from gateway.core.records import KeptGates
from gateway.core.retry import LONGEST_DEFER, hold
from gateway.core.token_bucket import TokenBucket
from gateway.host.clock import Clock

UNTIL_WOKEN = math.inf


class Change(Enum):
    """The effect of an outcome on the breaker."""

    OPENED = "opened"
    CLOSED = "closed"


class Gates:
    def __init__(self, state: KeptGates, policy: BreakerPolicy, rate: float | None, clock: Clock) -> None:
        """
        Args:
            state: what the store kept of the lane.
            rate: attempts per second; None for no limit.
        """
        self._policy = policy
        self._clock = clock
        self._rate = rate
        self._bucket = TokenBucket(rate, clock.monotonic()) if rate is not None else None
        held = min((state.held_until or 0.0) - clock.now(), LONGEST_DEFER)
        self._held_until = clock.monotonic() + max(held, 0.0)
        self._state = msgspec.structs.replace(state, breaker=breaker.restored(state.breaker, policy, clock.now()))

    @property
    def state(self) -> KeptGates:
        """The state that the store keeps of the lane."""
        held = self._held_until - self._clock.monotonic()
        return msgspec.structs.replace(self._state, held_until=self._clock.now() + held if held > 0 else None)

    @property
    def breaker(self) -> BreakerState:
        return self._state.breaker

    @property
    def paused(self) -> bool:
        return self._state.paused_at is not None

    @property
    def open_for_all(self) -> bool:
        """Deliveries may go, as far as the rate lets them, and not only a probe."""
        state = self._state
        return state.paused_at is None and not state.breaker.is_open and self._held_until <= self._clock.monotonic()

    @property
    def has_rate(self) -> bool:
        return self._bucket is not None

    @property
    def limited(self) -> bool:
        """The rate, or a `Retry-After`, holds the lane."""
        now = self._clock.monotonic()
        return self._held_until > now or (self._bucket is not None and self._bucket.wait(now) > 0)

    def change(self, policy: BreakerPolicy, rate: float | None) -> None:
        """Go by another policy and rate. A breaker that is open, a pause and a hold stay as they are."""
        self._policy = policy
        if rate != self._rate:
            self._rate = rate
            self._bucket = TokenBucket(rate, self._clock.monotonic()) if rate is not None else None

    def restore_pause(self, before: KeptGates) -> None:
        """Take back a pause, or its end, that could not be kept. The other gates may have changed meanwhile, and stay."""
        self._state = msgspec.structs.replace(self._state, paused_at=before.paused_at, paused_by=before.paused_by)

    def closed_for(self) -> float:
        """Seconds until a delivery may be claimed, 0 for now. While the breaker is open, that is a probe."""
        if self.paused:
            return UNTIL_WOKEN
        waits = [self._held_until - self._clock.monotonic()]
        if self.breaker.probe_at is not None:
            waits.append(self.breaker.probe_at - self._clock.now())
        return max(0.0, *waits)

    def take(self) -> float:
        """Take the right to one attempt. Returns 0, or the seconds until the rate allows one and nothing was taken."""
        return self._bucket.take(self._clock.monotonic()) if self._bucket else 0.0

    def hold(self, seconds: float) -> None:
        """Claim nothing for some seconds, as the sink asked."""
        self._held_until = max(self._held_until, self._clock.monotonic() + seconds)

    def pause(self, actor: str) -> bool:
        """Pause the lane; False if it is paused already."""
        if self.paused:
            return False
        self._state = msgspec.structs.replace(self._state, paused_at=self._clock.now(), paused_by=str(actor))
        return True

    def resume(self) -> bool:
        """End the pause; False if the lane was not paused."""
        if not self.paused:
            return False
        self._state = msgspec.structs.replace(self._state, paused_at=None, paused_by=None)
        return True

    def probe_now(self) -> bool:
        """Make the next probe due at once, and end a wait that the sink asked for; False if the breaker is closed."""
        if not self.breaker.is_open:
            return False
        self._held_until = min(self._held_until, self._clock.monotonic())
        self._state = msgspec.structs.replace(self._state, breaker=breaker.probe_asked(self.breaker, self._clock.now()))
        return True

    def report(self, outcome: Outcome, *, probe: bool) -> Change | None:
        """Note an outcome. Returns what it did to the breaker; None if that stayed as it was.

        Args:
            probe: the attempt was made to see whether the sink is back.
        """
        before = self.breaker
        match outcome:
            case Retry() if probe:
                after = breaker.probe_failed(before, self._policy, self._clock.now())
            case Retry():
                after = breaker.failed(before, self._policy, self._clock.now(), sink_wide=outcome.sink_wide)
            case Reject():
                after = breaker.probe_rejected(before, self._clock.now()) if probe else before
            case Defer():
                after = before  # neither up nor down: the hold says when to ask again
                self.hold(hold(outcome.after))
            case _:
                after = breaker.succeeded()
        if after is before:
            return None
        self._state = msgspec.structs.replace(self._state, breaker=after)
        if after.is_open == before.is_open:
            return None
        return Change.OPENED if after.is_open else Change.CLOSED

    def clock_jumped(self) -> None:
        """Cut back every instant that is further away than it could have been set: the wall clock jumped."""
        self._state = msgspec.structs.replace(
            self._state, breaker=breaker.restored(self.breaker, self._policy, self._clock.now())
        )
        self._held_until = min(self._held_until, self._clock.monotonic() + LONGEST_DEFER)
