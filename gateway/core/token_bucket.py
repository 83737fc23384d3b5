"""The token bucket that limits how fast a lane may claim. Pure; instants are monotonic seconds."""

from __future__ import annotations


class TokenBucket:
    """Allows `rate` attempts per second, and after a pause a burst of one second's worth, at least one attempt."""

    def __init__(self, rate: float, now: float) -> None:
        """Start with a full bucket. `rate` is in attempts per second, above 0."""
        self._rate = rate
        self._most = max(1.0, rate)
        self._tokens = self._most
        self._at = now

    def take(self, now: float) -> float:
        """Take a token and return 0. If the bucket is empty, take nothing and return the seconds until it has a token."""
        wait = self.wait(now)
        if wait == 0:
            self._tokens -= 1.0
        return wait

    def wait(self, now: float) -> float:
        """Return the seconds until the bucket has a token; 0 if it has one now."""
        self._tokens = min(self._most, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        return max((1.0 - self._tokens) / self._rate, 0.0)
