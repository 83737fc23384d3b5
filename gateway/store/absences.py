"""How long sinks were absent from the configuration: meanwhile their deliveries do not grow older."""

from __future__ import annotations


class Absences(dict[str, tuple[int, int | None]]):
    """The milliseconds that each sink was away from the configuration in all, and the instant since which it is away now."""

    def since(self, sink: str, instant_ms: int) -> int:
        """Return the begin of a delivery's age as it is kept: while its sink is away, a delivery does not grow older."""
        away_ms, absent_ms = self.get(sink, (0, None))
        return (instant_ms if absent_ms is None else min(instant_ms, absent_ms)) - away_ms
