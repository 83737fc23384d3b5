"""How many webhooks come in and how many deliveries go out: averages over the last minute and the last hour.

The loop of the janitor takes a reading every ten seconds, and an hour of readings is kept.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from msgspec import Struct, structs

from gateway.core.attention import Flow
from gateway.host.clock import Clock
from gateway.observability.metrics import Totals

_EVERY_SECONDS = 10.0
_MINUTE, _HOUR = 60.0, 3600.0
_MINUTES = int(_HOUR / _MINUTE)


class _Reading(Struct, frozen=True):
    at: float
    """Monotonic seconds."""
    totals: Totals


class ByMinute(Struct, frozen=True):
    """How many per minute, minute by minute, the oldest first; at most 60."""

    received: tuple[float, ...]
    refused: tuple[float, ...]
    delivered: tuple[float, ...]


class Throughput:
    """Turns counts since the start into averages."""

    def __init__(self, totals: Totals, clock: Clock) -> None:
        self._totals = totals
        self._clock = clock
        self._readings = deque([self._read()], maxlen=int(_HOUR / _EVERY_SECONDS) + 1)

    def step(self) -> None:
        """Take a reading if the last one is ten seconds old."""
        if self._clock.monotonic() - self._readings[-1].at >= _EVERY_SECONDS:
            self._readings.append(self._read())

    @property
    def readings(self) -> int:
        """How many readings are kept."""
        return len(self._readings)

    def flows(self) -> tuple[Flow, Flow, Flow]:
        """Return the flows of webhooks received, requests refused and deliveries made."""
        now = self._read()
        minute, hour = self._before(now.at - _MINUTE), self._before(now.at - _HOUR)
        names = ("received", "refused", "delivered")
        received, refused, delivered = (Flow(_rate(minute, now, name), _rate(hour, now, name)) for name in names)
        return received, refused, delivered

    def by_minute(self) -> ByMinute:
        """Return what came and went in each whole minute of the last hour that has been watched.

        Minutes begin with those of the clock, so that the answer stays the same until the next one is over.
        """
        end = self._clock.monotonic() // _MINUTE * _MINUTE
        begun = self._readings[0].at
        instants = [end - minutes * _MINUTE for minutes in range(_MINUTES, -1, -1)]
        edges = [self._before(instant) for instant in instants if instant >= begun]
        names = ("received", "refused", "delivered")
        return ByMinute(*(tuple(_rate(*pair, name) for pair in pairwise(edges)) for name in names))

    def _before(self, instant: float) -> _Reading:
        """Return the last reading up to an instant, or the first of all."""
        return next((reading for reading in reversed(self._readings) if reading.at <= instant), self._readings[0])

    def _read(self) -> _Reading:
        return _Reading(self._clock.monotonic(), structs.replace(self._totals))


def _rate(before: _Reading, now: _Reading, name: str) -> float:
    """Return how many came per minute; within the first minute, how many came so far. Two digits: one per hour is not none."""
    number: int = getattr(now.totals, name) - getattr(before.totals, name)
    return round(number * _MINUTE / max(now.at - before.at, _MINUTE), 2)
