"""The metrics of a gateway with 200 sinks, in which every kind of metric has a value."""

from __future__ import annotations

from gateway.core.outcome import Reason
from gateway.observability.metrics import Metrics

SINKS = [f"sink{number}" for number in range(200)]


def busy() -> Metrics:
    metrics = Metrics()
    metrics.expect(["legitmark", "sh\u00f6p"], SINKS)
    metrics.certificate_ends(5.0)
    for number, sink in enumerate(SINKS):
        metrics.attempt(sink, "retry", Reason.TIMEOUT, 0.1 * number)
        metrics.ended(sink, "delivered", "", 30.0 * number)
        metrics.deliveries(sink, "queued", number)
        metrics.gate(sink, "paused", closed=bool(number % 2))
        metrics.gate(sink, "breaker", closed=False)
    metrics.forget_gates(SINKS[7])
    metrics.message("legitmark", "state_change", "accepted", 0.01)
    return metrics
