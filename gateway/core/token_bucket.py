"""How fast a lane may claim: a token bucket. Pure; the instants are monotonic seconds."""

from __future__ import annotations


class TokenBucket:
    """Lets `rate` attempts a second through, and at most one second's worth (at least one) at once after a rest."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` is per second, above 0."""
        self._rate = rate
        self._most = max(1.0, rate)
        self._tokens = self._most
        self._at = now

    def take(self, now: float) -> float:
        """Take a token; 0, or the seconds until there is one and none was taken."""
        wait = self.wait(now)
        if wait == 0:
            self._tokens -= 1.0
        return wait

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0: there is one."""
        self._tokens = min(self._most, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        return max((1.0 - self._tokens) / self._rate, 0.0)
