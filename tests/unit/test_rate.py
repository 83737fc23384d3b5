"""The token bucket: the attempts that it allows in any window, and the waits that it returns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.token_bucket import TokenBucket

_rates = st.floats(0.01, 1000.0)


@pytest.mark.parametrize("rate", [0.001, 0.5, 1.0, 7.0, 1000.0])
def test_the_first_attempt_goes_at_once(rate: float) -> None:
    assert TokenBucket(rate, 50.0).take(50.0) == 0


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1.0, 1), (2.5, 2), (10.0, 10)])
def test_a_second_s_worth_goes_at_once_and_the_next_one_waits(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, 0.0)
    assert [bucket.take(0.0) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(0.0) > 0


@pytest.mark.parametrize(("rate", "wait"), [(0.1, 10.0), (0.5, 2.0), (1.0, 1.0), (10.0, 0.1)])
def test_the_wait_is_until_the_next_token_and_no_longer(rate: float, wait: float) -> None:
    bucket = TokenBucket(rate, 0.0)
    while bucket.take(0.0) == 0:
        pass
    assert bucket.take(0.0) == pytest.approx(wait)
    assert bucket.take(wait / 2) == pytest.approx(wait / 2)
    assert bucket.take(wait + 1e-9) == 0.0


def test_asking_for_the_wait_takes_no_token() -> None:
    bucket = TokenBucket(0.5, 0.0)
    assert [bucket.wait(0.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(0.0) == 0.0
    assert [bucket.wait(1.0) for _ in range(3)] == [pytest.approx(1.0)] * 3


def test_a_refused_take_costs_no_token() -> None:
    bucket = TokenBucket(1.0, 0.0)
    assert bucket.take(0.0) == 0.0
    for _ in range(100):
        assert bucket.take(0.5) == pytest.approx(0.5)
    assert bucket.take(1.001) == 0.0


def test_a_long_pause_saves_no_more_than_one_second_s_worth() -> None:
    bucket = TokenBucket(5.0, 0.0)
    assert [bucket.take(1e6) for _ in range(6)][:5] == [0.0] * 5
    assert bucket.take(1e6) > 0


def test_a_clock_that_stops_or_goes_back_gives_no_tokens() -> None:
    bucket = TokenBucket(2.0, 100.0)
    bucket.take(100.0), bucket.take(100.0)
    assert bucket.take(50.0) > 0
    assert bucket.take(50.0) > 0


@given(_rates, st.lists(st.floats(0.0, 5.0), min_size=1, max_size=200))
def test_no_window_lets_more_through_than_the_rate_plus_one_burst(rate: float, passed: list[float]) -> None:
    bucket, now, took = TokenBucket(rate, 0.0), 0.0, []
    for seconds in passed:
        now += seconds
        if bucket.take(now) == 0:
            took.append(now)
    most = max(1.0, rate)
    for first in range(len(took)):
        for last in range(first, len(took)):
            assert last - first + 1 <= rate * (took[last] - took[first]) + most + 1e-6


@given(_rates, st.integers(1, 50))
def test_a_caller_that_waits_as_long_as_asked_gets_the_full_rate(rate: float, number: int) -> None:
    bucket, now, took, tries = TokenBucket(rate, 0.0), 0.0, 0, 0
    while took < number:
        tries += 1
        assert tries < 10 * number + 10, "the waits that it tells are not long enough"
        wait = bucket.take(now)
        took += wait == 0
        now += wait + (1e-9 if wait else 0.0)
    assert now <= number / rate + 1e-3
