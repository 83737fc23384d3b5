"""The averages over the last minute and the last hour, made from an hour of readings."""

from __future__ import annotations

from gateway.core.attention import Flow
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import ByMinute, Throughput
from tests.fakes import FakeClock


def pass_time(clock: FakeClock, throughput: Throughput, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1.0)
        throughput.step()


def test_the_last_minute_and_the_last_hour_are_counted_apart(clock: FakeClock) -> None:
    metrics = Metrics()
    throughput = Throughput(metrics.totals, clock)
    for _ in range(6):
        metrics.message("legitmark", "state_change", "accepted", 0.001)
    metrics.rejection("legitmark", "bad_signature")
    metrics.ended("erp", "delivered", "", 1.0)
    metrics.ended("erp", "dead", "expired", 1.0)
    assert throughput.flows() == (Flow(6.0, 6.0), Flow(1.0, 1.0), Flow(1.0, 1.0)), "within the first minute: what came so far"
    pass_time(clock, throughput, 120)
    assert throughput.flows()[0] == Flow(0.0, 3.0)
    pass_time(clock, throughput, 3480)
    assert throughput.flows()[:2] == (Flow(0.0, 0.1), Flow(0.0, 0.02)), "one in an hour is not none"
    pass_time(clock, throughput, 60)
    assert throughput.flows()[0] == Flow(0.0, 0.0), "it is longer ago than an hour"
    for _ in range(90):
        metrics.message("legitmark", "state_change", "duplicate", 0.001)
    assert throughput.flows()[0] == Flow(90.0, 1.5)


def test_an_hour_of_readings_is_kept_and_no_more(clock: FakeClock) -> None:
    throughput = Throughput(Metrics().totals, clock)
    pass_time(clock, throughput, 600)
    assert throughput.readings == 61, "one every ten seconds"
    pass_time(clock, throughput, 5 * 3600)
    assert throughput.readings == 361


def test_a_curve_has_each_whole_minute_of_the_last_hour(clock: FakeClock) -> None:
    metrics = Metrics()
    throughput = Throughput(metrics.totals, clock)
    assert throughput.by_minute() == ByMinute((), (), ())
    for number in range(1, 4):
        for _ in range(number):
            metrics.message("legitmark", "state_change", "accepted", 0.001)
        metrics.rejection("legitmark", "bad_signature")
        pass_time(clock, throughput, 60)
    assert throughput.by_minute() == ByMinute((1.0, 2.0, 3.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    pass_time(clock, throughput, 59)
    assert throughput.by_minute().received == (1.0, 2.0, 3.0), "a minute that is not over changes nothing"
    pass_time(clock, throughput, 2 * 3600)
    assert throughput.by_minute().received == (0.0,) * 59, "an hour is kept, and it began within a minute"
