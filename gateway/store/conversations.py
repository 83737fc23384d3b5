"""The threads of one sink, as a sink that writes threads asks for them."""

from __future__ import annotations

from gateway.core.conversation import Thread
from gateway.host.clock import Clock
from gateway.store.base import Conversations


class SinkThreads:
    """Finds and keeps the threads of one sink (see `gateway.sinks.base.Threads`)."""

    def __init__(self, store: Conversations, sink: str, clock: Clock) -> None:
        self._store = store
        self._sink = sink
        self._clock = clock

    async def find(self, channel: str, sr: str) -> Thread | None:
        """Read the thread of a service request; None if there is none."""
        return await self._store.find_conversation(self._sink, channel, sr)

    async def keep(self, channel: str, sr: str, thread: Thread) -> None:
        """Remember a thread, in place of the one before it."""
        await self._store.keep_conversation(self._sink, channel, sr, thread, self._clock.now())
