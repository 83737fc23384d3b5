"""`/metrics` is written in small pieces that block the event loop only briefly, and equals the text of the client library."""

from __future__ import annotations

from prometheus_client import generate_latest

from tests.support.busy_metrics import SINKS, busy


def lines(exposition: bytes) -> list[bytes]:
    return [line for line in exposition.splitlines() if b"_process_" not in line]


def test_the_pieces_make_the_text_that_the_client_library_writes() -> None:
    metrics = busy()
    assert lines(b"".join(metrics.pieces())) == lines(generate_latest(metrics.registry))
    assert lines(metrics.exposition()) == lines(generate_latest(metrics.registry))
    assert b'gate_closed{gate="paused",sink="sink7"}' not in metrics.exposition()


def test_no_piece_has_more_lines_than_a_few_sinks_produce() -> None:
    assert max(piece.count(b"\n") for piece in busy().pieces()) < 150


def test_children_may_appear_and_disappear_between_two_pieces() -> None:
    metrics, written = busy(), b""
    for number, piece in enumerate(metrics.pieces()):
        written += piece
        metrics.attempt(f"late{number}", "delivered", "", 0.1)
        if number < len(SINKS) and number != 7:
            metrics.forget_gates(SINKS[number])
    assert metrics.failed == 0
    assert written.count(b"# TYPE legitmark_gateway_attempts_total ") == 1
