"""Tells whether the gateway takes webhooks, why it does not, and the line that `systemctl status` shows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core.records import Counts
from gateway.ingest.disk_space import DiskSpace
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import Trouble

STOPPING = "stopping: finishing what is in flight"


class Readiness:
    """The gateway is not ready before `serve_on`, and no longer once `stop` is set."""

    def __init__(self, *, stop: asyncio.Event, store: Trouble, audit: AuditLog, space: DiskSpace, metrics: Metrics) -> None:
        self._stop = stop
        self._store = store
        self._audit = audit
        self._space = space
        self._metrics = metrics
        self._serving = False
        self._addresses: Sequence[str] = ()

    def serve_on(self, addresses: Sequence[str]) -> None:
        """Note that the gateway listens for webhooks on these addresses."""
        self._serving, self._addresses = True, addresses

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses that the gateway listens for webhooks on; empty before it does."""
        return self._addresses

    def reasons(self) -> list[str]:
        """The reasons why the gateway is not ready; empty while it is."""
        reasons = []
        if not self._serving or self._stop.is_set():
            reasons.append("starting or stopping")
        if self._audit.failing:
            reasons.append("the audit log can't be written")
        if self._space.low:
            reasons.append("the disk has less than store.min_free left: webhooks are answered 503")
        if self._store.trouble is not None:
            reasons.append(self._store.trouble)
        return reasons

    def status(self, counts: Mapping[str, Counts]) -> str:
        """Return one line about the whole gateway.

        Args:
            counts: the deliveries of each sink; empty if the store has not been asked.
        """
        if self._stop.is_set():
            return STOPPING
        state = f"not ready: {'; '.join(reasons)}" if (reasons := self.reasons()) else "ready"
        queued, dead = (sum(getattr(sink, state) for sink in counts.values()) for state in ("queued", "dead"))
        received = self._metrics.totals.received
        waiting = f", {queued} deliveries queued, {dead} dead" if counts else ""
        return f"{state}: webhooks on {', '.join(self._addresses)}; {received} received since start{waiting}"
