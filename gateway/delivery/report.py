"""What is told of an attempt, and of a delivery's end: one audit line, and the metrics."""

from __future__ import annotations

from gateway.core.audit_events import settled
from gateway.core.outcome import Defer, Delivered, Reject, Retry
from gateway.core.records import Attempt, Owed
from gateway.core.retry import Transition
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics

NAMES = {Delivered: "delivered", Retry: "retry", Defer: "defer", Reject: "reject"}


def report(
    audit: AuditLog,
    metrics: Metrics,
    now: float,
    owed: Owed,
    transition: Transition,
    attempt: Attempt | None,
    *,
    in_time: bool,
) -> None:
    """Tell of what was settled.

    Args:
        now: Unix seconds, UTC.
        in_time: the delivery was still queued. Else a person ended it meanwhile: the attempt counts, and of its outcome only
            that it did arrive is told, for what the person did is the last word on the rest.
    """
    outcome = attempt.outcome if attempt else None
    if attempt is not None and outcome is not None:
        reason = "" if isinstance(outcome, Delivered) else outcome.reason.value
        metrics.attempt(owed.sink, NAMES[type(outcome)], reason, attempt.duration_ms / 1000)
    if transition.state != "queued" and in_time:
        metrics.ended(owed.sink, transition.state, transition.reason or "", now - owed.message.received_at)
    if not in_time and transition.state != "delivered":
        return
    audit.step(settled(owed, transition, attempt, in_time=in_time), owed.message)
