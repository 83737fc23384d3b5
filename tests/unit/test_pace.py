"""How many a minute: the differences of the counters, of which an hour is kept."""

from __future__ import annotations

from gateway.core.attention import Flow
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Pace
from tests.fakes import FakeClock


def pass_time(clock: FakeClock, pace: Pace, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1.0)
        pace.step()


def test_the_last_minute_and_the_last_hour_are_counted_apart(clock: FakeClock) -> None:
    metrics = Metrics()
    pace = Pace(metrics, clock)
    for _ in range(6):
        metrics.message("legitmark", "state_change", "accepted", 0.001)
    metrics.rejection("legitmark", "bad_signature")
    metrics.ended("erp", "delivered", "", 1.0)
    metrics.ended("erp", "dead", "expired", 1.0)
    assert pace.flows() == (Flow(6.0, 6.0), Flow(1.0, 1.0), Flow(1.0, 1.0)), "within the first minute: what came so far"
    pass_time(clock, pace, 120)
    assert pace.flows()[0] == Flow(0.0, 3.0)
    pass_time(clock, pace, 3480)
    assert pace.flows()[:2] == (Flow(0.0, 0.1), Flow(0.0, 0.02)), "one in an hour is not none"
    pass_time(clock, pace, 60)
    assert pace.flows()[0] == Flow(0.0, 0.0), "it is longer ago than an hour"
    for _ in range(90):
        metrics.message("legitmark", "state_change", "duplicate", 0.001)
    assert pace.flows()[0] == Flow(90.0, 1.5)


def test_what_is_kept_is_bounded_and_looked_at_rarely(clock: FakeClock) -> None:
    looks = 0

    class Counting(Metrics):
        def values(self, name: str, **labels: str) -> list[float]:
            nonlocal looks
            looks += 1
            return super().values(name, **labels)

    pace = Pace(Counting(), clock)
    pass_time(clock, pace, 5 * 3600)
    assert looks == 3 * (1 + 1800)
    assert len(pace._looks) == 361
