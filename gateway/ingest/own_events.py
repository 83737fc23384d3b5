"""The gateway's own events (`source = "gateway"`): they tell people what went wrong, by the routes that ask for that source.

An event is made at most once in ten minutes for each kind and sink, and only if a route takes it. A service request that differs
is told once for each state that Legitmark's API names. No own event is made about the
delivery of another own event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core import events
from gateway.core.errors import StoreError
from gateway.core.reconciliation import Current, KnownState, differs_text
from gateway.core.records import Attempt, Message, Owed, message_about
from gateway.core.routing import GATEWAY
from gateway.core.values import rfc3339
from gateway.core.vocabulary import OwnEvent
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.source_watch import Refusing
from gateway.observability.logs import Log, Sparing
from gateway.observability.unsealed import SealHead

_PAUSE = 600.0
"""Seconds between two own events of one kind about one sink or source."""


class OwnEvents:
    """Makes own events and puts them into the inbox. No method raises: the thing that they tell about has happened."""

    def __init__(self, *, inbox: Inbox, clock: Clock, log: Log) -> None:
        self._inbox = inbox
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say
        self._last: dict[tuple[str, str], float] = {}

    async def delivery_dead(self, owed: Owed, reason: str, attempt: Attempt | None) -> None:
        """Tell that a delivery is dead."""
        detail = getattr(attempt.outcome, "detail", "") if attempt else ""
        await self._tell(OwnEvent.DELIVERY_DEAD, owed.sink, owed.message, reason=reason, detail=detail)

    async def sink_opened(self, sink: str, reason: str, detail: str) -> None:
        """Tell that the breaker of a sink opened."""
        await self._tell(OwnEvent.SINK_OPENED, sink, None, reason=reason, detail=detail)

    async def message_quarantined(self, message: Message, detail: str) -> None:
        """Tell that a message was quarantined."""
        await self._tell(OwnEvent.MESSAGE_QUARANTINED, "", message, detail=detail)

    async def source_refused(self, refusing: Refusing) -> bool:
        """Tell that a source refuses everything.

        Return False if it has to be told later: the last event about the source is too recent, or nothing can be stored now.
        """
        facts: dict[str, Any] = {
            "source": refusing.source,
            "reason": refusing.reason,
            "since": rfc3339(refusing.since),
            "count": refusing.count,
            "detail": f"{refusing.source}: {refusing.do}",
        }
        return await self._tell(OwnEvent.SOURCE_REFUSED, "", None, subject=refusing.source, **facts)

    async def sealed(self, head: SealHead) -> bool:
        """Tell the head of the audit log's seals. Return False if it has to be told later."""
        detail = f"seal {head.number} of the audit log: {head.seal}"
        return await self._tell(OwnEvent.SEALED, "", None, seal=head.seal, number=head.number, detail=detail)

    async def sr_differs(self, known: KnownState | None, current: Current) -> bool:
        """Tell that Legitmark's API names another state of a service request than the gateway knows.

        It may be called again: the store knows a state that was told already. Return False if nothing can be stored now.
        """
        reference = (known.reference_id if known is not None else None) or current.reference_id
        facts: dict[str, Any] = {
            "sr_uuid": current.sr_uuid,
            "reference_id": reference,
            "state": msgspec.to_builtins(current.state),
            "known_state": known.state if known is not None else None,
            "updated_at": current.updated_text,
            "detail": differs_text(known, current),
        }
        told = [OwnEvent.SR_DIFFERS.value, current.sr_uuid, current.state.primary, current.state.supplement, current.updated_text]
        return await self._tell(OwnEvent.SR_DIFFERS, "", None, once=msgspec.json.encode(told).decode(), **facts)

    async def _tell(
        self,
        kind: OwnEvent,
        sink: str,
        about: Message | None,
        *,
        subject: str | None = None,
        once: str | None = None,
        **facts: Any,
    ) -> bool:
        """Make an own event; return False if that may work later.

        Args:
            about: the message that the event is about.
            subject: the sink or source that has at most one event of a kind in ten minutes; None means `sink`.
            once: the identity of an event that is made once, however much later it is told again; None for all others.
        """
        try:
            return await self._put(kind, sink, about, subject or sink, once, facts)
        except Exception:
            self._say("exception", "notice.bug", sink, event_type=kind.value)
            return True

    async def _put(
        self, kind: OwnEvent, sink: str, about: Message | None, subject: str, once: str | None, facts: Mapping[str, Any]
    ) -> bool:
        if about is not None and about.source == GATEWAY:
            return True
        event_type = kind.value
        last = self._last.get((subject, event_type))
        if once is None and last is not None and self._clock.monotonic() - last < _PAUSE:
            return False
        now = self._clock.now()
        values: dict[str, Any] = {"sink": sink or None, **facts}
        if about is not None:
            values |= {"message_id": about.id, "sr_uuid": about.sr_uuid, "reference_id": about.reference_id}
        event = own_event(kind, now, values)
        decision = self._inbox.route(event, GATEWAY)
        if not decision.sinks:
            return True
        if once is None:
            self._last[subject, event_type] = self._clock.monotonic()
        body = msgspec.json.encode(event.values)
        message = message_about(event, body, message_id=self._clock.new_id(), source=GATEWAY, received_at=now)
        try:
            await self._inbox.put(message, event, decision=decision, identity=once)
        except StoreError as error:
            # The audit log and the metrics tell the same thing anyway.
            self._last.pop((subject, event_type), None)
            ids = {"sink": sink or None, "message_id": about.id if about is not None else None}
            self._say("warning", "notice.lost", sink, event_type=event_type, **ids, error=str(error))
            return False
        return True


def own_event(kind: OwnEvent, now: float, values: Mapping[str, Any]) -> events.Event:
    """Return an event of the gateway, without the fields that are None.

    Args:
        now: Unix seconds, UTC.
    """
    given: dict[str, Any] = {"event_type": kind.value, "timestamp": rfc3339(now), **values}
    return events.event_of({key: _printable(value) for key, value in given.items() if value is not None})


def _printable(value: Any) -> Any:
    """Replace what JSON cannot hold, such as half of a surrogate pair in the answer of a sink."""
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
