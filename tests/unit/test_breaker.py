"""The breaker: its transitions as tables, and properties that hold for every sequence of outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import (
    CLOSED,
    LONGEST_PROBE_WAIT,
    BreakerPolicy,
    BreakerState,
    failed,
    probe_failed,
    probe_rejected,
    restored,
    succeeded,
)
from tests.fakes import START

_POLICY = BreakerPolicy(failures=3, probe=30.0)
_policies = st.builds(BreakerPolicy, failures=st.integers(1, 20), probe=st.floats(0.1, 3600.0))


def opened(policy: BreakerPolicy = _POLICY, now: float = START) -> BreakerState:
    state = CLOSED
    for _ in range(policy.failures):
        state = failed(state, policy, now)
    return state


@pytest.mark.parametrize("failures", [1, 2, 3, 10])
def test_it_opens_after_exactly_the_configured_number_of_failures_in_a_row(failures: int) -> None:
    policy, state = BreakerPolicy(failures=failures, probe=30.0), CLOSED
    for number in range(1, failures):
        state = failed(state, policy, START)
        assert not state.is_open and state.failures == number
    assert failed(state, policy, START + 7) == BreakerState(failures, opened_at=START + 7, probe_at=START + 37, wait=30.0)


@pytest.mark.parametrize("failures", [1, 3, 1000])
def test_trouble_that_every_message_would_meet_opens_it_at_once(failures: int) -> None:
    policy = BreakerPolicy(failures=failures, probe=30.0)
    opened_at_once = BreakerState(1, opened_at=START, probe_at=START + 30, wait=30.0)
    assert failed(CLOSED, policy, START, sink_wide=True) == opened_at_once
    later = failed(opened_at_once, policy, START + 9, sink_wide=True)
    assert (later.probe_at, later.wait, later.opened_at) == (START + 30, 30.0, START)


def test_a_rejected_probe_leaves_it_open_and_the_next_probe_waits_as_long() -> None:
    state = probe_failed(opened(), _POLICY, START + 30)
    after = probe_rejected(state, START + 90)
    assert (after.probe_at, after.wait, after.failures) == (START + 150, 60.0, state.failures)
    assert probe_rejected(CLOSED, START) == CLOSED


def test_a_success_resets_the_count() -> None:
    state = failed(failed(CLOSED, _POLICY, START), _POLICY, START)
    state = failed(failed(succeeded(), _POLICY, START), _POLICY, START)
    assert not state.is_open and state.failures == 2
    assert failed(state, _POLICY, START).is_open


def test_a_success_closes_it_from_every_state() -> None:
    assert succeeded() == CLOSED and not CLOSED.is_open


def test_the_wait_between_probes_doubles_to_ten_minutes() -> None:
    state, now = opened(), START
    waits = []
    for _ in range(8):
        assert state.probe_at is not None
        waits.append(state.probe_at - now)
        now = state.probe_at
        state = probe_failed(state, _POLICY, now)
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_configured_probe_wait_above_ten_minutes_is_kept() -> None:
    policy = BreakerPolicy(failures=1, probe=1800.0)
    state = probe_failed(opened(policy), policy, START)
    assert (state.probe_at, state.wait) == (START + 1800, 1800)


def test_an_attempt_in_progress_when_it_opened_does_not_delay_the_probe() -> None:
    state = opened()
    later = failed(state, _POLICY, START + 29)
    assert (later.probe_at, later.wait, later.opened_at) == (state.probe_at, state.wait, state.opened_at)
    assert later.failures == 4


def test_a_failure_never_closes_it_even_if_a_reload_allows_more_failures() -> None:
    """The state outlives the configuration, so `failures` can be raised while the breaker is open."""
    state = opened()
    assert failed(state, BreakerPolicy(failures=10, probe=30.0), START + 1).is_open


def test_failed_probes_keep_the_time_at_which_it_opened() -> None:
    state = opened()
    for number in range(1, 5):
        state = probe_failed(state, _POLICY, START + 100 * number)
    assert state.opened_at == START and state.failures == 7


@pytest.mark.parametrize(
    ("went", "probe_at"),
    [(0.0, 30.0), (10.0, 30.0), (100.0, 30.0), (86400.0, 30.0), (-10.0, 20.0), (-3600.0, -3570.0), (-86400.0, -86370.0)],
)
def test_a_restored_state_waits_no_longer_even_if_the_clock_was_set_back(went: float, probe_at: float) -> None:
    assert restored(opened(), _POLICY, START + went).probe_at == START + probe_at


def test_a_restored_wait_is_limited_to_the_longest_one() -> None:
    state = restored(BreakerState(5, START, START + 1e6, 1e6), _POLICY, START)
    assert state.wait == LONGEST_PROBE_WAIT and state.probe_at == START + LONGEST_PROBE_WAIT


def test_a_closed_state_is_restored_unchanged() -> None:
    state = BreakerState(failures=2)
    assert restored(state, _POLICY, START - 1e6) is state


@given(_policies, st.lists(st.tuples(st.sampled_from("sf"), st.floats(0.0, 1e5)), max_size=60))
def test_it_is_open_exactly_after_enough_failures_in_a_row_and_probes_are_bounded(
    policy: BreakerPolicy, happened: list[tuple[str, float]]
) -> None:
    state, now, in_a_row, longest = CLOSED, START, 0, max(LONGEST_PROBE_WAIT, policy.probe)
    for what, passed in happened:
        now += passed
        is_probe = state.probe_at is not None and now >= state.probe_at
        if what == "s":
            state, in_a_row = succeeded(), 0
        else:
            state = probe_failed(state, policy, now) if is_probe else failed(state, policy, now)
            in_a_row += 1
        assert state.is_open == (in_a_row >= policy.failures)
        assert state.failures == in_a_row
        if state.probe_at is not None:
            assert policy.probe <= state.wait <= longest
            assert state.probe_at <= now + longest + 1e-3 and state.opened_at is not None


@given(_policies, st.integers(0, 30), st.floats(-1e7, 1e7))
def test_no_jump_of_the_clock_keeps_it_shut_for_longer_than_one_wait(policy: BreakerPolicy, probes: int, jump: float) -> None:
    state = opened(policy)
    for _ in range(probes):
        state = probe_failed(state, policy, START)
    after = restored(state, policy, START + jump)
    assert after.is_open and after.probe_at is not None and state.probe_at is not None
    assert after.probe_at <= START + jump + state.wait + 1e-3
    assert after.probe_at <= state.probe_at  # and it never puts a probe off
    assert restored(after, policy, START + jump) == after
