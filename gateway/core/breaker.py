"""When a lane may claim while its sink fails: the breaker. Pure; one instant per decision.

closed ── `failures` Retry outcomes in a row ──> open ── a probe succeeds ──> closed
   └───── one that is sink-wide ─────────────────> │├── a probe fails: the next one after twice the wait, at most 10 min
                                                   └── a probe is rejected: the next one after the same wait
"""

from __future__ import annotations

from msgspec import Struct

LONGEST_PROBE_WAIT = 600.0
"""Seconds."""


class BreakerPolicy(Struct, frozen=True):
    failures: int = 3
    """`Retry` outcomes in a row that open it; at least 1."""
    probe: float = 30.0
    """Seconds from opening to the first probe."""


class BreakerState(Struct, frozen=True):
    """Closed while `probe_at` is None. Built only by the functions of this module, and by the store that kept it."""

    failures: int = 0
    """Failures in a row."""
    opened_at: float | None = None
    """Unix seconds, UTC."""
    probe_at: float | None = None
    """Unix seconds, UTC: when the next probe may go."""
    wait: float = 0.0
    """Seconds between the last probe and the next."""

    @property
    def is_open(self) -> bool:
        return self.probe_at is not None


CLOSED = BreakerState()


def succeeded() -> BreakerState:
    """After a delivery: the sink works."""
    return CLOSED


def failed(state: BreakerState, policy: BreakerPolicy, now: float, *, sink_wide: bool = False) -> BreakerState:
    """After a `Retry` outcome of an attempt that is no probe; it may have been under way when the breaker opened.

    Args:
        sink_wide: the breaker opens, whatever the policy says of `failures`.
    """
    failures = state.failures + 1
    if state.is_open:
        return BreakerState(failures, state.opened_at, state.probe_at, state.wait)
    if failures < policy.failures and not sink_wide:
        return BreakerState(failures=failures)
    return BreakerState(failures, opened_at=now, probe_at=now + policy.probe, wait=policy.probe)


def probe_failed(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    """After a probe that did not get through: the next one waits twice as long."""
    wait = min(max(state.wait, policy.probe) * 2, max(LONGEST_PROBE_WAIT, policy.probe))
    return BreakerState(state.failures + 1, state.opened_at, now + wait, wait)


def probe_rejected(state: BreakerState, now: float) -> BreakerState:
    """After a probe that ended in `Reject`, which says nothing of the sink: the next one waits as long as this one did."""
    return state if state.probe_at is None else BreakerState(state.failures, state.opened_at, now + state.wait, state.wait)


def restored(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    """What a state that was kept means now: a clock that was set back must not keep a sink shut for longer than it would be."""
    if state.probe_at is None:
        return state
    wait = min(state.wait, max(LONGEST_PROBE_WAIT, policy.probe))
    return BreakerState(state.failures, state.opened_at, min(state.probe_at, now + wait), wait)
