"""The decision after an attempt, from outcome, retries so far, time and jitter: the table of docs/reference.md, "Delivery"."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.retry import RetryPolicy, Transition, decide, expired, expires_at, first_due

NOW = 1_772_000_000.0
SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0)
"""Seconds. The documented default of `retry`."""
POLICY = RetryPolicy()
FAILED = Retry(Reason.HTTP_STATUS, "500", 500)


def after(
    outcome: Outcome, *, retries: int = 0, since: float = NOW, now: float = NOW, jitter: float = 0.0, policy: RetryPolicy = POLICY
) -> Transition:
    return decide(outcome, retries=retries, since=since, now=now, jitter=jitter, policy=policy)


def test_the_default_schedule_is_the_documented_one() -> None:
    assert POLICY.schedule == SCHEDULE
    assert POLICY.give_up_after == 7 * 24 * 3600


@pytest.mark.parametrize("retries", range(4))
@pytest.mark.parametrize("jitter", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_after_k_retries_the_next_attempt_is_due_the_kth_wait_later_within_ten_percent(retries: int, jitter: float) -> None:
    found = after(FAILED, retries=retries, since=NOW - 60, jitter=jitter)
    wait = SCHEDULE[retries + 1]
    assert found.state == "queued"
    assert found.retries == retries + 1
    assert found.reason == Reason.HTTP_STATUS
    assert found.due_at == pytest.approx(NOW + wait + wait * 0.1 * jitter, abs=1e-3)


@pytest.mark.parametrize("jitter", [-1.0, 0.0, 1.0])
def test_the_first_attempt_is_due_the_first_wait_after_acceptance(jitter: float) -> None:
    assert first_due(POLICY, NOW, jitter) == NOW
    assert first_due(RetryPolicy(schedule=(100.0,)), NOW, jitter) == pytest.approx(NOW + 100 + 10 * jitter)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_delivery_is_dead_after_the_last_retry(length: int) -> None:
    policy = RetryPolicy(schedule=SCHEDULE[:length])
    found = after(FAILED, retries=length - 1, policy=policy)
    assert found == Transition(state="dead", retries=length, reason=Reason.ATTEMPTS_EXHAUSTED)
    if length > 1:
        assert after(FAILED, retries=length - 2, policy=policy).state == "queued"


def test_a_schedule_that_a_reload_made_shorter_ends_the_delivery() -> None:
    assert after(FAILED, retries=4, policy=RetryPolicy(schedule=(0.0, 5.0))).reason == Reason.ATTEMPTS_EXHAUSTED


@pytest.mark.parametrize("reason", list(Reason))
def test_a_retry_keeps_its_reason_while_it_waits(reason: Reason) -> None:
    assert after(Retry(reason)).reason == reason


@pytest.mark.parametrize("length", [1, 2, 5])
def test_trouble_of_the_whole_sink_never_spends_the_last_retry(length: int) -> None:
    policy, retries = RetryPolicy(schedule=SCHEDULE[:length]), 0
    for _ in range(20):
        found = after(Retry(Reason.REJECTED, sink_wide=True), retries=retries, policy=policy)
        assert found.state == "queued" and found.retries in (retries, retries + 1)
        assert found.due_at == NOW + policy.schedule[found.retries]
        retries = found.retries
    assert retries == length - 1
    assert after(FAILED, retries=retries, policy=policy).state == "dead"


@pytest.mark.parametrize("retries", [0, 3, 4])
@pytest.mark.parametrize("reason", [Reason.REJECTED, Reason.HTTP_STATUS, Reason.BLOCKED])
def test_a_reject_is_dead_at_once_even_with_retries_left(retries: int, reason: Reason) -> None:
    assert after(Reject(reason), retries=retries) == Transition(state="dead", retries=retries, reason=Reason.REJECTED)


@pytest.mark.parametrize("retries", [0, 4])
def test_the_outcome_delivered_ends_the_delivery_as_delivered(retries: int) -> None:
    found = after(Delivered(200), retries=retries)
    assert (found.state, found.due_at, found.reason, found.retries) == ("delivered", None, None, retries)


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (0.0, 1.0),
        (-5.0, 1.0),
        (-math.inf, 1.0),
        (0.99, 1.0),
        (1.0, 1.0),
        (30.0, 30.0),
        (3600.0, 3600.0),
        (3601.0, 3600.0),
        (1e12, 3600.0),
        (math.inf, 3600.0),
    ],
)
@pytest.mark.parametrize("jitter", [-1.0, 1.0])
def test_a_defer_is_clamped_to_a_second_and_an_hour_and_has_no_jitter(asked: float, held: float, jitter: float) -> None:
    assert after(Defer(Reason.RATE_LIMITED, asked), jitter=jitter).due_at == NOW + held


@pytest.mark.parametrize("retries", [0, 2, 4])
def test_a_defer_spends_nothing_of_the_budget_not_even_the_last_attempt(retries: int) -> None:
    found = after(Defer(Reason.UNAVAILABLE, 10.0), retries=retries)
    assert found == Transition(state="queued", due_at=NOW + 10, retries=retries, reason=Reason.UNAVAILABLE)


def test_a_thousand_defers_leave_the_whole_budget() -> None:
    retries, now = 0, NOW
    for _ in range(1000):
        found = after(Defer(Reason.RATE_LIMITED, 5.0), retries=retries, now=now)
        retries, now = found.retries, found.due_at or 0.0
    assert retries == 0
    assert now == NOW + 5000


def test_give_up_after_runs_from_acceptance_or_replay() -> None:
    assert expires_at(RetryPolicy(give_up_after=60.0), NOW) == NOW + 60
    assert expired(2) == Transition(state="dead", retries=2, reason=Reason.EXPIRED)


def test_a_wait_beyond_give_up_after_ends_with_it() -> None:
    policy = RetryPolicy(schedule=(0.0, 7200.0), give_up_after=3600.0)
    assert after(FAILED, policy=policy, since=NOW - 600).due_at == NOW + 3000
    assert after(FAILED, policy=policy, since=NOW - 600, jitter=-1.0).due_at == NOW + 3000
    longer = RetryPolicy(schedule=(0.0, 7200.0), give_up_after=8000.0)
    assert after(FAILED, policy=longer).due_at == NOW + 7200
    assert after(FAILED, policy=longer, since=NOW - 600).due_at == NOW + 7200
    assert after(FAILED, policy=longer, since=NOW - 1000).due_at == NOW + 7000


def test_a_delivery_whose_time_is_over_is_due_now_and_not_in_the_past() -> None:
    policy = RetryPolicy(give_up_after=60.0)
    assert after(FAILED, policy=policy, since=NOW - 100).due_at == NOW


def test_the_whole_life_of_a_delivery_that_always_fails_takes_the_sum_of_its_waits() -> None:
    now, retries, attempts = first_due(POLICY, NOW, 0.0), 0, 0
    while True:
        attempts += 1
        found = after(FAILED, retries=retries, now=now)
        retries = found.retries
        if found.due_at is None:
            break
        now = found.due_at
    assert (attempts, found.reason, now) == (5, Reason.ATTEMPTS_EXHAUSTED, NOW + 9305)


outcomes = (
    st.builds(Delivered)
    | st.builds(Retry, st.sampled_from(Reason), sink_wide=st.booleans())
    | st.builds(Defer, st.sampled_from(Reason), st.floats(allow_nan=False))
    | st.builds(Reject, st.sampled_from(Reason))
)
policies = st.builds(
    RetryPolicy,
    schedule=st.lists(st.floats(0, 1e6), min_size=1, max_size=8).map(tuple),
    give_up_after=st.floats(0, 1e7),
)


@given(
    outcome=outcomes,
    retries=st.integers(0, 10),
    age=st.floats(0, 1e7),
    jitter=st.floats(-1, 1),
    policy=policies,
)
def test_every_transition_is_within_its_bounds(
    outcome: Outcome, retries: int, age: float, jitter: float, policy: RetryPolicy
) -> None:
    found = after(outcome, retries=retries, since=NOW - age, jitter=jitter, policy=policy)
    assert (found.due_at is not None) is (found.state == "queued")
    assert (found.reason is None) is (found.state == "delivered")
    if not (isinstance(outcome, Retry) and outcome.sink_wide):
        assert found.retries == retries + isinstance(outcome, Retry)
    match outcome:
        case Delivered():
            assert found.state == "delivered"
        case Reject():
            assert (found.state, found.reason) == ("dead", Reason.REJECTED)
        case Defer():
            assert found.due_at is not None
            ends = NOW - age + policy.give_up_after
            assert 1 <= found.due_at - NOW <= 3600 or found.due_at == max(ends, NOW)
            assert found.due_at <= max(ends, NOW)
        case Retry(sink_wide=True):
            assert found.state == "queued" and found.retries == min(retries + 1, len(policy.schedule) - 1)
        case Retry():
            assert (found.state == "dead") is (retries + 1 >= len(policy.schedule))
            if found.due_at is not None:
                wait = policy.schedule[retries + 1]
                assert NOW <= found.due_at <= max(NOW, NOW - age + policy.give_up_after) + 1e-3
                assert found.due_at <= NOW + wait * 1.1 + 1e-3
                if found.due_at < NOW - age + policy.give_up_after - 1e-3 and found.due_at > NOW:
                    assert found.due_at >= NOW + wait * 0.9 - 1e-3


@given(policy=policies, jitter=st.floats(-1, 1))
def test_the_first_attempt_is_never_due_before_acceptance(policy: RetryPolicy, jitter: float) -> None:
    wait = policy.schedule[0]
    assert NOW + wait * 0.9 - 1e-3 <= first_due(policy, NOW, jitter) <= NOW + wait * 1.1 + 1e-3
    assert first_due(policy, NOW, jitter) >= NOW
