"""The people who watch requests as they come to the gateway. While there are none, nothing is copied, kept or counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.core.caught_requests import Answered, CaughtRequest, RequestRing
from gateway.core.masking import without_credentials
from gateway.core.token_bucket import TokenBucket
from gateway.host.clock import Clock
from gateway.web.responses import PlainAnswer
from gateway.web.webhooks.head import Head

STREAM_SECONDS: Final = 5.0
"""Seconds that a look by a live page lasts; it looks again each second."""
LOOK_SECONDS: Final = 60.0
"""Seconds that a look by a page lasts that is loaded once: without JavaScript, a person loads it again to see more."""
MOST_A_SECOND: Final = 50.0
"""Requests that are kept per second, of those that were accepted and of those that were refused each. A person cannot read more,
and the ring holds four seconds of it; the others are counted."""


class Onlookers:
    """Lets people see what comes, as long as somebody looks."""

    def __init__(self, ring: RequestRing, *, gone: Callable[[], None], clock: Clock) -> None:
        """`gone` is called whenever the last onlooker has gone, before the ring is emptied."""
        self.open = False
        """Somebody looks. This is all that a request costs while nobody does."""
        self.ring = ring
        self._gone = gone
        self.passed_by = 0
        """How many requests came since the newest one in the ring, and were only counted."""
        self.version = 0
        """Another number after each request."""
        self._clock = clock
        self._until = 0.0
        self._someone = asyncio.Event()
        self._count = 0
        self._accepted = self._refused = TokenBucket(MOST_A_SECOND, 0.0)

    def look(self, seconds: float = LOOK_SECONDS) -> None:
        """Keep the requests that come within some seconds from now, at least."""
        now = self._clock.monotonic()
        if not self.open:
            self._accepted, self._refused = TokenBucket(MOST_A_SECOND, now), TokenBucket(MOST_A_SECOND, now)
            self.open = True
            self._someone.set()
        self._until = max(self._until, now + seconds)

    def changes(self) -> int:
        """Return a number that is another one after each request, and look on for a few seconds."""
        self.look(STREAM_SECONDS)
        return self.version

    def saw(self, head: Head, source: str | None, body: bytes | None, answer: PlainAnswer) -> None:
        """Keep a request with the answer that it got, or only count it if too many come. Call it only while `open`.

        Args:
            body: None if it was refused before its body came.
        """
        self.version += 1
        bucket = self._accepted if answer.status == 200 else self._refused
        if bucket.take(self._clock.monotonic()) > 0:
            self.passed_by += 1
            return
        self._count += 1
        caught = CaughtRequest(
            number=self._count,
            at=self._clock.now(),
            method=head.method,
            target=head.path,
            headers=without_credentials(head.raw_headers),
            body=body,
            length=0 if body is None else len(body),
            source=source,
            answered=Answered(answer.status, answer.body),
            passed_by=self.passed_by,
        )
        self.passed_by = 0
        self.ring.put(caught)

    async def run(self) -> None:
        """Forget every request whenever the last onlooker has gone, until cancelled."""
        never = asyncio.Event()
        while True:
            await self._someone.wait()
            while (left := self._until - self._clock.monotonic()) > 0:
                await self._clock.wait(never, left)
            self._someone.clear()
            self.open = False
            self.passed_by = 0
            self._gone()
            self.ring.clear()
