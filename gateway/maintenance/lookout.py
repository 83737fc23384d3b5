"""Looks once a second at what people have to be told because of time, and at what senders said for the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.host.clock import Clock
from gateway.observability.logs import Log, Sparing

_LOOK_SECONDS = 1.0
Step = Callable[[], Awaitable[None]]


class Lookout:
    """Makes the steps of the parts that look. The trouble of one disturbs no other."""

    def __init__(self, steps: Mapping[str, Step], *, clock: Clock, log: Log) -> None:
        """`steps` is by name, for the log. A step may raise StoreError while nothing can be written; it is made again then."""
        self._steps = dict(steps)
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say

    async def run(self) -> None:
        """Look until cancelled. Raises StoreFailed or StoreCorrupt when the disk can no longer be trusted."""
        while True:
            await self.step()
            await self._clock.wait(asyncio.Event(), _LOOK_SECONDS)

    async def step(self) -> None:
        """Make each step once."""
        for name, step in self._steps.items():
            try:
                await step()
            except (StoreFailed, StoreCorrupt):
                raise
            except StoreError as error:
                self._say("warning", "lookout.refused", name, what=name, error=str(error))
            except Exception:  # a bug in telling must not end the gateway
                self._say("exception", "lookout.bug", name, what=name)
