"""Refused requests in the audit log: the first of a source and reason at once, then one line per 10 s with a count."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.engine.audit import AuditLog
from gateway.metrics import Metrics

WINDOW = 10.0
"""Seconds. Bounds what a stranger can make us write: a line per source and reason in each."""


class Rejections:
    def __init__(self, audit: AuditLog, metrics: Metrics, clock: Clock) -> None:
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def add(self, source: str, reason: str, detail: str, first: str | None = None) -> None:
        """Count a refused request; `source` is empty where the path belongs to none.

        Where `first` is given, the line that comes at once says that instead: what is true of that request alone.
        """
        self._metrics.rejection(source, reason)
        window = self._windows.get((source, reason))
        if window is not None:
            window.count += 1
            window.detail = detail
            return
        self._windows[source, reason] = _Window(self._clock.monotonic() + WINDOW)
        self._audit.step("message.rejected", source=source or None, reason=reason, detail=first or detail)

    def flush(self, *, everything: bool = False) -> None:
        """Write the count of each window that is over; a window without one closes, so that the next comes at once."""
        now = self._clock.monotonic()
        for (source, reason), window in list(self._windows.items()):
            if now < window.ends and not everything:
                continue
            if window.count == 0:
                del self._windows[source, reason]
                continue
            self._audit.step("message.rejected", source=source or None, reason=reason, detail=window.detail, count=window.count)
            window.count = 0
            window.ends = now + WINDOW


class _Window:
    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.count = 0
        self.detail = ""
