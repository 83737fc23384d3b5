"""Holds the sink of a lane. A reload may replace it while attempts are in flight: the last attempt at the old sink closes it."""

from __future__ import annotations

from collections import Counter

from gateway.observability.logs import Sparing
from gateway.sinks.base import Sink


class SinkSlot:
    def __init__(self, name: str, sink: Sink, say: Sparing) -> None:
        self._name = name
        self._sink: Sink | None = sink
        self._in_use: Counter[Sink] = Counter()
        """How many attempts each sink has in its hands."""
        self._say = say.say

    @property
    def empty(self) -> bool:
        """The sink left the configuration, or the lane has ended."""
        return self._sink is None

    def take(self) -> Sink | None:
        """The sink for one attempt, to be given back after it; None while the slot is empty."""
        if (sink := self._sink) is not None:
            self._in_use[sink] += 1
        return sink

    async def give_back(self, sink: Sink) -> None:
        """End the use of a sink, and close it if it was replaced and nobody else uses it."""
        self._in_use[sink] -= 1
        if not self._in_use[sink]:
            del self._in_use[sink]
            if sink is not self._sink:
                await self._close(sink)

    def use(self, sink: Sink | None) -> Sink | None:
        """Hand out another sink from now on, or none.

        Returns the sink before it if nobody uses that any more: the caller closes it.
        """
        before, self._sink = self._sink, sink
        return None if before is None or before in self._in_use else before

    async def aclose(self) -> None:
        """Close the sink, or let the attempt that still uses it (a drill) close it at its end."""
        if (sink := self.use(None)) is not None:
            await sink.aclose()

    async def _close(self, sink: Sink) -> None:
        """Close a sink. An error of that must not reach the attempt, which is settled."""
        try:
            await sink.aclose()
        except Exception:
            self._say("exception", "sink.bug", sink=self._name)
