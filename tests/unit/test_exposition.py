"""`/metrics` comes in pieces that hold the loop for a moment only, and says what the client library would say."""

from __future__ import annotations

from prometheus_client import generate_latest

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


def lines(exposition: bytes) -> list[bytes]:
    return [line for line in exposition.splitlines() if b"_process_" not in line]


def test_the_pieces_make_the_text_that_the_client_library_writes() -> None:
    metrics = busy()
    assert lines(b"".join(metrics.pieces())) == lines(generate_latest(metrics.registry))
    assert lines(metrics.exposition()) == lines(generate_latest(metrics.registry))
    assert b'gate_closed{gate="paused",sink="sink7"}' not in metrics.exposition()


def test_no_piece_has_more_lines_than_a_few_sinks_make() -> None:
    assert max(piece.count(b"\n") for piece in busy().pieces()) < 150


def test_children_that_come_and_go_between_two_pieces_spoil_nothing() -> None:
    metrics, written = busy(), b""
    for number, piece in enumerate(metrics.pieces()):
        written += piece
        metrics.attempt(f"late{number}", "delivered", "", 0.1)
        if number < len(SINKS) and number != 7:
            metrics.forget_gates(SINKS[number])
    assert metrics.failed == 0
    assert written.count(b"# TYPE legitmark_gateway_attempts_total ") == 1
