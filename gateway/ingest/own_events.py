"""Somebody is told: events of the gateway itself (`source = "gateway"`), which take the routes that ask for that source.

At most one per sink and kind in ten minutes, and none about another one; where no route wants them, none is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core import events
from gateway.core.errors import StoreError
from gateway.core.records import Attempt, Message, Owed
from gateway.core.routing import GATEWAY
from gateway.core.values import rfc3339
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.source_watch import Refusing
from gateway.observability.logs import Log, Sparing

_PAUSE = 600.0
"""Seconds between two notices of one kind about one sink."""


class Notices:
    def __init__(self, *, inbox: Inbox, clock: Clock, log: Log) -> None:
        self._inbox = inbox
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say
        self._last: dict[tuple[str, str], float] = {}

    async def delivery_dead(self, owed: Owed, reason: str, attempt: Attempt | None) -> None:
        """A delivery ended undelivered."""
        detail = getattr(attempt.outcome, "detail", "") if attempt else ""
        await self._tell("gateway.delivery_dead", owed.sink, owed.message, reason=reason, detail=detail)

    async def sink_opened(self, sink: str, reason: str, detail: str) -> None:
        """A breaker opened."""
        await self._tell("gateway.sink_opened", sink, None, reason=reason, detail=detail)

    async def message_quarantined(self, message: Message, detail: str) -> None:
        """A message came that can't be read."""
        await self._tell("gateway.message_quarantined", "", message, detail=detail)

    async def source_refused(self, refusing: Refusing) -> bool:
        """A source refuses whatever comes to it. Return False if that has to be told later: too soon after the last notice about
        the source, or nothing can be stored now."""
        facts: dict[str, str | int] = {
            "source": refusing.source,
            "reason": refusing.reason,
            "since": rfc3339(refusing.since),
            "count": refusing.count,
            "detail": f"{refusing.source}: {refusing.do}",
        }
        return await self._tell("gateway.source_refused", "", None, subject=refusing.source, **facts)

    async def _tell(
        self, event_type: str, sink: str, about: Message | None, *, subject: str | None = None, **facts: str | int
    ) -> bool:
        """Put a notice in; return False if it may be put in later. Never raises: what it tells of has happened, and goes on,
        whether somebody is told or not."""
        try:
            return await self._put(event_type, sink, about, subject or sink, facts)
        except Exception:
            self._say("exception", "notice.bug", sink, event_type=event_type)
            return True

    async def _put(self, event_type: str, sink: str, about: Message | None, subject: str, facts: Mapping[str, str | int]) -> bool:
        """`subject` is what at most one notice of a kind in ten minutes is about."""
        if about is not None and about.source == GATEWAY:
            return True
        last = self._last.get((subject, event_type))
        if last is not None and self._clock.monotonic() - last < _PAUSE:
            return False
        now = self._clock.now()
        values: dict[str, Any] = {"event_type": event_type, "timestamp": rfc3339(now), "sink": sink or None, **facts}
        values = {key: _printable(value) for key, value in values.items()}
        if about is not None:
            values |= {"message_id": about.id, "sr_uuid": about.sr_uuid, "reference_id": about.reference_id}
        event = events.event_of({key: value for key, value in values.items() if value is not None})
        decision = self._inbox.route(event, GATEWAY)
        if not decision.sinks:
            return True
        self._last[subject, event_type] = self._clock.monotonic()
        message = Message(
            id=self._clock.new_id(),
            source=GATEWAY,
            sender_id=None,
            received_at=now,
            content_type="application/json",
            body=msgspec.json.encode(event.values),
            event_type=event_type,
            milestone=event.milestone.value,
            sr_uuid=event.sr_uuid,
            reference_id=event.reference_id,
        )
        try:
            await self._inbox.put(message, decision)
        except StoreError as error:
            # What it would tell of stands in the audit log and the metrics all the same.
            del self._last[subject, event_type]
            ids = {"sink": sink or None, "message_id": about.id if about is not None else None}
            self._say("warning", "notice.lost", sink, event_type=event_type, **ids, error=str(error))
            return False
        return True


def _printable(value: Any) -> Any:
    """Text that JSON can hold: half of a surrogate pair, from an answer say, is replaced."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
