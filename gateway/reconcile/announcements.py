"""Tells the routes that a service request differs, and brings the state that the API told if the operator wants that.

No sender signed such an event: its source is `reconcile`, which no webhook can have.
"""

from __future__ import annotations

import msgspec

from gateway.core.errors import StoreError
from gateway.core.events import IDENTITY, identity
from gateway.core.reconciliation import Current, KnownState, state_change
from gateway.core.records import message_about
from gateway.core.routing import RECONCILE
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox
from gateway.ingest.own_events import OwnEvents
from gateway.observability.logs import Log, Sparing


class Announcements:
    """Puts events into the inbox. A state that was announced already is a duplicate there, so it may be announced again."""

    def __init__(self, *, inbox: Inbox, own_events: OwnEvents, clock: Clock, log: Log) -> None:
        self._inbox = inbox
        self._own_events = own_events
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say

    async def differs(self, known: KnownState | None, current: Current, *, emit: bool) -> bool:
        """Tell that a service request differs. Return False if nothing can be stored now, and it has to be told later.

        Args:
            emit: also make a `state_change` of the state that the API told.
        """
        if emit and not await self._emit(current):
            return False
        return await self._own_events.sr_differs(known, current)

    async def _emit(self, current: Current) -> bool:
        event = state_change(current)
        body = msgspec.json.encode(event.values)
        message = message_about(event, body, message_id=self._clock.new_id(), source=RECONCILE, received_at=self._clock.now())
        try:
            await self._inbox.put(message, event, identity=identity(event, IDENTITY))
        except StoreError as error:
            self._say("warning", "reconcile.not_emitted", sr_uuid=current.sr_uuid, error=str(error))
            return False
        return True
