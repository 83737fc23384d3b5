"""The gateway's own events that are told once: the fact that people know is committed together with the event.

So a crash neither loses nor doubles one. An event that no route asks for is not stored, but the fact is: it is not told later,
when a route asks for such events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core.audit_event_kinds import GatewayEvent
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Companion, message_about
from gateway.core.routing import GATEWAY
from gateway.core.vocabulary import OwnEvent
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.own_events import own_event
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.store.base import Watching


class RememberedEvents:
    """Makes such events, and puts them into the inbox."""

    def __init__(self, *, inbox: Inbox, store: Watching, audit: AuditLog, clock: Clock, log: Log) -> None:
        self._inbox = inbox
        self._store = store
        self._audit = audit
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say

    async def tell(
        self, kind: OwnEvent, values: Mapping[str, Any], companions: tuple[Companion, ...], line: GatewayEvent
    ) -> bool:
        """Commit an event with the facts that it tells, and write the audit line about it.

        Args:
            companions: the facts; they are committed even if no route asks for the event.
        Returns False if nothing can be stored now; the caller has to read the facts again before it tries again, because a
        commit that failed may reappear.
        Raises StoreFailed or StoreCorrupt if the disk can no longer be trusted.
        """
        now = self._clock.now()
        event = own_event(kind, now, values)
        decision = self._inbox.route(event, GATEWAY)
        try:
            if decision.sinks:
                body = msgspec.json.encode(event.values)
                message = message_about(event, body, message_id=self._clock.new_id(), source=GATEWAY, received_at=now)
                await self._inbox.put(message, event, decision=decision, companions=companions)
            else:
                await self._store.keep(companions)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            self._say("warning", "notice.late", kind.value, event_type=kind.value, error=str(error))
            return False
        self._audit.step(line)
        return True
