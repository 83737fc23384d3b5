"""How long a graceful stop waits for the connections that are open."""

from __future__ import annotations

import math

from msgspec import Struct

UNFINISHED_SECONDS = 6.0
"""Seconds that a drain gives to a head or a body that has begun: a body is answered 408 after five."""


class DrainTimes(Struct, frozen=True):
    """Seconds that a drain waits, by what a connection does."""

    fresh: float
    """Seconds for the first request of a connection, counted from its acceptance and from the start of the drain."""
    kept: float
    """Seconds for the next request on a kept connection, counted from its last answer. A client that sends within that time
    reads `Connection: close` in its next answer, and so never meets an end that it did not expect (RFC 9112, section 9.5)."""
    unfinished: float
    """Seconds for the rest of a request, counted from where its head or its body began, or from the start of the drain if that
    came later."""
    open: float = 0.0
    """Seconds, counted from the start of the drain, in which the server still takes new connections while deliveries hold the
    stop up: their messages are committed, and the next process delivers them. Only for sockets that outlive the process: a
    sender that waits in one would otherwise wait for a sink that hangs."""

    def within(self, seconds: float) -> DrainTimes:
        """Return the times shortened to fit into a drain of so many seconds.

        Otherwise waiting for requests that never come could use up the time that requests in progress need.
        """
        open_for = min(self.open, max(seconds - UNFINISHED_SECONDS, seconds / 2))
        return DrainTimes(min(self.fresh, seconds / 4), min(self.kept, seconds / 2), self.unfinished, open_for)


SENDERS = DrainTimes(fresh=1.0, kept=2.0, unfinished=UNFINISHED_SECONDS, open=math.inf)
"""The times of the webhook listeners."""
OPERATORS = DrainTimes(fresh=0.0, kept=0.0, unfinished=1.0)
"""The times of the admin listener: a stop does not wait for a command whose body never comes."""
