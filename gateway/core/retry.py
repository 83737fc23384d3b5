"""What becomes of a delivery after an attempt. Pure: `now` and `jitter` are passed in, one instant per decision."""

from __future__ import annotations

from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.selection import DeliveryState

LEGITMARK_SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0)
"""Seconds: Legitmark's own schedule, so that a sink is tried as often as we are."""
OUTAGE_BUDGET = sum(LEGITMARK_SCHEDULE)
"""Seconds from the first try to the last one that Legitmark makes of a message, give or take its jitter of about 20 %: so long
this host may be away. After that a person has to resend (Legitmark's webhook reference, Svix' retry schedule)."""
DEAD_REASONS = (Reason.ATTEMPTS_EXHAUSTED, Reason.EXPIRED, Reason.REJECTED)
"""Why a delivery can be dead."""
JITTER = 0.1
SHORTEST_DEFER, LONGEST_DEFER = 1.0, 3600.0
"""Seconds. What a `Retry-After` is clamped to."""


class RetryPolicy(Struct, frozen=True):
    schedule: tuple[float, ...] = LEGITMARK_SCHEDULE
    """Seconds before each attempt, counted from the failure before; the first from acceptance. At least one."""
    give_up_after: float = 7 * 86400.0
    """Seconds from acceptance or replay."""


class Transition(Struct, frozen=True):
    """How a delivery leaves `queued`, or stays there until `due_at`. Built only by the functions of this module."""

    state: DeliveryState
    due_at: float | None = None
    """Unix seconds, UTC; set while `queued`."""
    retries: int = 0
    """`Retry` outcomes since acceptance or replay."""
    reason: Reason | None = None
    """Why it is dead, or why the attempt failed."""


def first_due(policy: RetryPolicy, now: float, jitter: float) -> float:
    """When a delivery that is accepted or replayed `now` may be tried first. `jitter` lies between -1 and 1."""
    return now + _jittered(policy.schedule[0], jitter)


def expires_at(policy: RetryPolicy, since: float) -> float:
    """When a delivery accepted or replayed at `since` is given up."""
    return since + policy.give_up_after


def expired(retries: int) -> Transition:
    """A delivery that nobody could deliver within `give_up_after`."""
    return Transition(state="dead", retries=retries, reason=Reason.EXPIRED)


def postponed(*, retries: int, since: float, until: float, reason: Reason, policy: RetryPolicy) -> Transition:
    """A probe that failed: it spends no budget, and waits for its sink like all others."""
    return Transition(state="queued", due_at=min(until, expires_at(policy, since)), retries=retries, reason=reason)


def longest_wait(policy: RetryPolicy) -> float:
    """Seconds: no delivery has a reason to be due later than this from now, whatever the clock did."""
    return max(*policy.schedule, LONGEST_DEFER) * (1.0 + JITTER)


def decide(outcome: Outcome, *, retries: int, since: float, now: float, jitter: float, policy: RetryPolicy) -> Transition:
    """Turn an outcome into what happens next (docs/reference.md, "Delivery").

    A sink-wide `Retry` spends one unit of the budget as any other does, but never the last one: the trouble is the sink's, and
    no message dies of it before `give_up_after`.

    Args:
        retries: `Retry` outcomes before this one, since acceptance or replay.
        since: Unix seconds of acceptance or replay.
        jitter: between -1 and 1.
    """
    match outcome:
        case Delivered():
            return Transition(state="delivered", retries=retries)
        case Reject():
            return Transition(state="dead", retries=retries, reason=Reason.REJECTED)
        case Defer(reason=reason, after=after):
            due_at = min(now + hold(after), expires_at(policy, since))
            return Transition(state="queued", due_at=max(due_at, now), retries=retries, reason=reason)
        case Retry(reason=reason, sink_wide=sink_wide):
            failed, last = retries + 1, len(policy.schedule) - 1
            if sink_wide:
                failed = min(failed, last)
            elif failed > last:
                return Transition(state="dead", retries=failed, reason=Reason.ATTEMPTS_EXHAUSTED)
            # A wait that reaches beyond the end comes due at the end, so that it is given up then and not later.
            due_at = min(now + _jittered(policy.schedule[failed], jitter), expires_at(policy, since))
            return Transition(state="queued", due_at=max(due_at, now), retries=failed, reason=reason)


def hold(after: float) -> float:
    """The seconds that a `Retry-After` may hold a lane: what was asked for, within 1 s and 1 h."""
    return min(max(after, SHORTEST_DEFER), LONGEST_DEFER)


def _jittered(seconds: float, jitter: float) -> float:
    return seconds * (1.0 + JITTER * jitter)
