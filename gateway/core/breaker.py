"""The circuit breaker of a sink: it decides when a lane may claim while the sink fails. Pure; one instant per decision.

closed ── `failures` Retry outcomes in a row ──> open ── a probe succeeds ──> closed
   └───── a sink-wide one ───────────────────────> │├── a person asks: the next probe at once
                                                   ├── a probe fails: the next one after twice the wait, at most 10 min
                                                   └── a probe is rejected: the next one after the same wait
"""

from __future__ import annotations

from msgspec import Struct

LONGEST_PROBE_WAIT = 600.0
"""Seconds."""


class BreakerPolicy(Struct, frozen=True):
    failures: int = 3
    """`Retry` outcomes in a row that open the breaker; at least 1."""
    probe: float = 30.0
    """Seconds from the opening to the first probe."""


class BreakerState(Struct, frozen=True):
    """The state of a breaker; closed while `probe_at` is None. Only the functions of this module and the store build one."""

    failures: int = 0
    """Failures in a row."""
    opened_at: float | None = None
    """Unix seconds, UTC."""
    probe_at: float | None = None
    """The instant of the next probe (Unix seconds, UTC)."""
    wait: float = 0.0
    """Seconds between the last probe and the next."""

    @property
    def is_open(self) -> bool:
        return self.probe_at is not None


CLOSED = BreakerState()


def succeeded() -> BreakerState:
    """Return the state after a success: closed."""
    return CLOSED


def failed(state: BreakerState, policy: BreakerPolicy, now: float, *, sink_wide: bool = False) -> BreakerState:
    """Return the state after a `Retry` outcome of an attempt that is no probe; it may have begun before the breaker opened.

    Args:
        sink_wide: opens the breaker, whatever `failures` the policy has.
    """
    failures = state.failures + 1
    if state.is_open:
        return BreakerState(failures, state.opened_at, state.probe_at, state.wait)
    if failures < policy.failures and not sink_wide:
        return BreakerState(failures=failures)
    return BreakerState(failures, opened_at=now, probe_at=now + policy.probe, wait=policy.probe)


def probe_failed(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    """Return the state after a failed probe: the next one waits twice as long."""
    wait = min(max(state.wait, policy.probe) * 2, max(LONGEST_PROBE_WAIT, policy.probe))
    return BreakerState(state.failures + 1, state.opened_at, now + wait, wait)


def probe_rejected(state: BreakerState, now: float) -> BreakerState:
    """Return the state after a probe that ended in `Reject`, which says nothing about the sink: the next one waits as long."""
    return state if state.probe_at is None else BreakerState(state.failures, state.opened_at, now + state.wait, state.wait)


def probe_asked(state: BreakerState, now: float) -> BreakerState:
    """Return the state of an open breaker whose next probe is due at once. The wait after it, if it fails, stays as it was."""
    if state.probe_at is None or state.probe_at <= now:
        return state
    return BreakerState(state.failures, state.opened_at, now, state.wait)


def restored(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    """Return a stored state with its wait bounded: a clock that was set back must not keep the breaker open for longer."""
    if state.probe_at is None:
        return state
    wait = min(state.wait, max(LONGEST_PROBE_WAIT, policy.probe))
    return BreakerState(state.failures, state.opened_at, min(state.probe_at, now + wait), wait)
