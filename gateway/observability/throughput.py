"""How much comes in and goes out: the counters of the metrics, looked at every ten seconds for an hour."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from gateway.core.attention import Flow
from gateway.host.clock import Clock
from gateway.observability.metrics import Metrics

_EVERY = 10.0
"""Seconds between two looks."""
_MINUTE, _HOUR = 60.0, 3600.0


class _Look(Struct, frozen=True):
    at: float
    """Monotonic seconds."""
    received: float
    refused: float
    delivered: float


class Pace:
    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._looks = deque([self._look()], maxlen=int(_HOUR / _EVERY) + 1)

    def step(self) -> None:
        """Look again, where it is time."""
        if self._clock.monotonic() - self._looks[-1].at >= _EVERY:
            self._looks.append(self._look())

    def flows(self) -> tuple[Flow, Flow, Flow]:
        """Return the flows of what was received, refused and delivered."""
        now = self._look()
        minute, hour = self._before(now.at - _MINUTE), self._before(now.at - _HOUR)
        names = ("received", "refused", "delivered")
        received, refused, delivered = (Flow(_rate(minute, now, name), _rate(hour, now, name)) for name in names)
        return received, refused, delivered

    def _before(self, instant: float) -> _Look:
        """The last look up to an instant, or the first of all."""
        return next((look for look in reversed(self._looks) if look.at <= instant), self._looks[0])

    def _look(self) -> _Look:
        return _Look(
            at=self._clock.monotonic(),
            received=sum(self._metrics.values("messages_total")),
            refused=sum(self._metrics.values("rejections_total")),
            delivered=sum(self._metrics.values("deliveries_ended_total", state="delivered")),
        )


def _rate(before: _Look, now: _Look, name: str) -> float:
    """A minute; within the first minute, what came so far. One in an hour is not none."""
    number: float = getattr(now, name) - getattr(before, name)
    return round(number * _MINUTE / max(now.at - before.at, _MINUTE), 2)
