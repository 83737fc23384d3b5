"""Decides what happens to a delivery after an attempt. Pure: `now` and `jitter` are passed in, one instant per decision."""

from __future__ import annotations

from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.selection import DeliveryState

LEGITMARK_SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0)
"""Seconds. Legitmark's own schedule, so that the gateway tries a sink as often as Legitmark tries the gateway."""
OUTAGE_BUDGET = sum(LEGITMARK_SCHEDULE)
"""Seconds from Legitmark's first try of a message to its last one, give or take a jitter of about 20 %.

This host may be away for so long. After that a person has to have the message sent again (Legitmark's webhook reference, and the
retry schedule of Svix).
"""
DEAD_REASONS = (Reason.ATTEMPTS_EXHAUSTED, Reason.EXPIRED, Reason.REJECTED)
"""The reasons for which a delivery can be dead."""
JITTER = 0.1
SHORTEST_DEFER, LONGEST_DEFER = 1.0, 3600.0
"""Seconds. A `Retry-After` is clamped to this range."""


class RetryPolicy(Struct, frozen=True):
    schedule: tuple[float, ...] = LEGITMARK_SCHEDULE
    """Seconds before each attempt, counted from the failure before it, and for the first one from acceptance. At least one."""
    give_up_after: float = 7 * 86400.0
    """Seconds from acceptance or replay to the end of all attempts."""


class Transition(Struct, frozen=True):
    """The way in which a delivery leaves `queued`, or stays there until `due_at`. Only the functions of this module build one."""

    state: DeliveryState
    due_at: float | None = None
    """Unix seconds, UTC; None unless the delivery is `queued`."""
    retries: int = 0
    """`Retry` outcomes since acceptance or replay."""
    reason: Reason | None = None
    """The reason why the delivery is dead, or why the attempt failed."""


def first_due(policy: RetryPolicy, now: float, jitter: float) -> float:
    """Return when a delivery that is accepted or replayed `now` may be tried first. `jitter` is between -1 and 1."""
    return now + _jittered(policy.schedule[0], jitter)


def expires_at(policy: RetryPolicy, since: float) -> float:
    """Return when the gateway gives up a delivery that was accepted or replayed at `since`."""
    return since + policy.give_up_after


def expired(retries: int) -> Transition:
    """End a delivery that waited longer than `give_up_after`."""
    return Transition(state="dead", retries=retries, reason=Reason.EXPIRED)


def postponed(*, retries: int, since: float, until: float, reason: Reason, policy: RetryPolicy) -> Transition:
    """Postpone a delivery whose attempt was a probe and failed. It spends no budget, and waits like all others of its sink."""
    return Transition(state="queued", due_at=min(until, expires_at(policy, since)), retries=retries, reason=reason)


def longest_wait(policy: RetryPolicy) -> float:
    """Return the longest wait in seconds: a delivery that is due later than this has a wrong time, because a clock jumped."""
    return max(*policy.schedule, LONGEST_DEFER) * (1.0 + JITTER)


def decide(outcome: Outcome, *, retries: int, since: float, now: float, jitter: float, policy: RetryPolicy) -> Transition:
    """Turn an outcome into what happens next (docs/reference.md, "Delivery").

    A sink-wide `Retry` spends one unit of the budget as any other does, but never the last one: the sink is in trouble, and no
    message is dead for that before `give_up_after`.

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
    """Return for how many seconds a `Retry-After` holds a lane: as long as was asked for, but at least 1 s and at most 1 h."""
    return min(max(after, SHORTEST_DEFER), LONGEST_DEFER)


def _jittered(seconds: float, jitter: float) -> float:
    return seconds * (1.0 + JITTER * jitter)
