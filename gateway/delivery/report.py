"""Reports what became of a delivery, and that a breaker opened or closed: one audit line each, the metrics, and an own event."""

from __future__ import annotations

from gateway.core.audit_events import SinkClosed, SinkOpened
from gateway.core.delivery_events import settled
from gateway.core.outcome import OUTCOME_NAMES, Delivered, Outcome, Retry
from gateway.core.records import Owed, Settlement
from gateway.delivery.gates import Change
from gateway.delivery.world import LaneWorld
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics


def lines(audit: AuditLog, owed: Owed, settlement: Settlement, *, in_time: bool) -> list[bytes]:
    """Make the audit lines about a settled delivery. The thread of the store's writer calls this.

    Args:
        in_time: the delivery was still queued. If not, a person ended it meanwhile: only a delivery that arrived after all has a
            line, because the rest is what that person decided.
    """
    if not in_time and settlement.transition.state != "delivered":
        return []
    return [audit.line(settled(owed, settlement.transition, settlement.attempt, in_time=in_time), owed.message)]


def count(metrics: Metrics, now: float, owed: Owed, settlement: Settlement, *, in_time: bool) -> None:
    """Count a settled delivery. The arguments are those of `lines`; `now` is in Unix seconds, UTC."""
    transition, attempt = settlement.transition, settlement.attempt
    outcome = attempt.outcome if attempt else None
    if attempt is not None and outcome is not None:
        reason = "" if isinstance(outcome, Delivered) else outcome.reason.value
        metrics.attempt(owed.sink, OUTCOME_NAMES[type(outcome)], reason, attempt.duration_ms / 1000)
    if transition.state != "queued" and in_time:
        metrics.ended(owed.sink, transition.state, transition.reason or "", now - owed.message.received_at)


async def breaker(world: LaneWorld, sink: str, change: Change, outcome: Outcome, *, shown: bool) -> None:
    """Report that an outcome opened or closed the breaker of a sink.

    Args:
        shown: the sink is in the configuration. If not, it has left, and its gates are no longer among the metrics.
    """
    opened = change is Change.OPENED
    reason = outcome.reason if isinstance(outcome, Retry) else None
    detail = "" if isinstance(outcome, Delivered) else outcome.detail
    world.audit.step(SinkOpened(sink=sink, reason=reason, detail=detail or None) if opened else SinkClosed(sink=sink))
    if shown:
        world.metrics.gate(sink, "breaker", closed=opened)
    if opened:
        world.log.warning("sink.opened", sink=sink, reason=reason, detail=detail)
        await world.own_events.sink_opened(sink, reason or "", detail)
    else:
        world.log.info("sink.closed", sink=sink)
