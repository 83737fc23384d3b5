"""What is told of an attempt, and of a delivery's end: one audit line, and the metrics."""

from __future__ import annotations

from gateway.core.outcome import Defer, Delivered, Reject, Retry
from gateway.core.records import Attempt, Owed
from gateway.core.retry import Transition, settled_event
from gateway.core.values import rfc3339
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics

NAMES = {Delivered: "delivered", Retry: "retry", Defer: "defer", Reject: "reject"}

DISCARDED = "it was discarded meanwhile"


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
    detail = outcome.detail if outcome else ""
    audit.step(
        settled_event(transition, outcome),
        owed.message,
        sink=owed.sink,
        delivery_id=owed.delivery_id,
        attempt=attempt.number if attempt else None,
        status=outcome.status if outcome else None,
        duration_ms=attempt.duration_ms if attempt else None,
        reason=transition.reason,
        detail=(detail or None) if in_time else DISCARDED,
        next_attempt_at=rfc3339(transition.due_at) if transition.due_at is not None else None,
    )
