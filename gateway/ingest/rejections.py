"""Counts refused requests, and writes their audit lines: the first of a source and reason at once, then one per ten seconds.

The line of ten seconds has the count of each detail, and some senders' ids and addresses, so that people know what has to be sent
again. Everything here is bounded, because a stranger chooses what is refused.
"""

from __future__ import annotations

from collections import Counter

from gateway.core.audit_events import MessageRejected
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics

WINDOW = 10.0
"""Seconds between two lines about one source and reason."""
MOST_NAMED = 20
"""How many ids, addresses or details a line names; `more_...` counts the requests that had another one."""


class Rejections:
    """The windows of ten seconds that are open, one per source and reason."""

    def __init__(self, audit: AuditLog, metrics: Metrics, clock: Clock) -> None:
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def add(
        self,
        source: str,
        reason: str,
        detail: str,
        first: str | None = None,
        *,
        sender_id: str | None = None,
        address: str | None = None,
    ) -> None:
        """Count a refused request.

        Args:
            source: empty if the path belongs to no source.
            first: a more exact detail for the line that is written at once; it is true only for this request.
            sender_id: the id that the request claims, if it is well-formed.
            address: the address that the request came from, if that is known.
        """
        key = (source, reason)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(self._clock.monotonic() + WINDOW)
            self._audit.step(
                MessageRejected(
                    source=source or None,
                    reason=reason,
                    detail=first or detail,
                    sender_ids=[sender_id] if sender_id is not None and first is None else None,
                    addresses=[address] if address is not None and first is None else None,
                )
            )
        else:
            window.add(detail, sender_id, address)
        self._metrics.rejection(source, reason)

    def flush(self, *, everything: bool = False) -> None:
        """Write the line of each window that is over. A window without requests closes: the next request gets its line at once.

        Args:
            everything: write the lines of the other windows too, because the gateway stops.
        """
        now = self._clock.monotonic()
        for (source, reason), window in list(self._windows.items()):
            if now < window.ends and not everything:
                continue
            if window.count == 0:
                del self._windows[source, reason]
                continue
            self._windows[source, reason] = _Window(now + WINDOW)
            self._audit.step(
                MessageRejected(
                    source=source or None,
                    reason=reason,
                    detail=window.detail,
                    count=window.count,
                    sender_ids=window.sender_ids.named or None,
                    more_sender_ids=window.sender_ids.more or None,
                    addresses=window.addresses.named or None,
                    more_addresses=window.addresses.more or None,
                )
            )


class _Window:
    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.count = 0
        self.sender_ids = _Some()
        self.addresses = _Some()
        self._details: Counter[str] = Counter()

    def add(self, detail: str, sender_id: str | None, address: str | None) -> None:
        self.count += 1
        self._details[detail if detail in self._details or len(self._details) < MOST_NAMED else "another reason"] += 1
        self.sender_ids.add(sender_id)
        self.addresses.add(address)

    @property
    def detail(self) -> str:
        """Every detail; if there are several, each with how often it came."""
        if len(self._details) == 1:
            return next(iter(self._details))
        return "; ".join(f"{number} x {detail}" for detail, number in self._details.most_common())


class _Some:
    """The first distinct texts, and the number of times that another one came."""

    def __init__(self) -> None:
        self._named: dict[str, None] = {}
        self.more = 0

    def add(self, text: str | None) -> None:
        if text is None or text in self._named:
            return
        if len(self._named) < MOST_NAMED:
            self._named[text] = None
        else:
            self.more += 1

    @property
    def named(self) -> list[str]:
        return list(self._named)
