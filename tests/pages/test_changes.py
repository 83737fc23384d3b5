"""The number that tells pages of changes: it grows with every event, since every event has a line in the audit log."""

from __future__ import annotations

from pathlib import Path

import structlog

from gateway.core.audit_events import GatewayStopped
from gateway.observability.audit import AuditLog
from tests.fakes import FakeClock


def test_the_number_grows_with_each_line_whichever_way_it_is_written(tmp_path: Path) -> None:
    clock = FakeClock()
    log = AuditLog(tmp_path / "audit.jsonl", clock, structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))
    try:
        seen = [log.taken]
        log.write_now([b"{}"])
        seen.append(log.taken)
        log.step(GatewayStopped())
        seen.append(log.taken)
        log.write_now([b"{}"])  # a line waits: the caller adds what is returned
        log.add([b"{}"])
        seen.append(log.taken)
    finally:
        log.close()
    assert seen == sorted(set(seen))
