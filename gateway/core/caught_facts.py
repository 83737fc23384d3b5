"""The facts of the event in a caught request: those of the message that came of it, or as a gateway would judge it. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, TypeVar

from msgspec import Struct

from gateway.core import events
from gateway.core.caught_requests import MOST_REQUESTS, CaughtRequest
from gateway.core.events import Event
from gateway.core.judge import judge
from gateway.core.ledger import Facts, ServiceRequest

JudgedBy = Literal["arrival", "now", "requests_here"]
"""The knowledge that facts were judged by: the gateway's on arrival or now, or the requests that came to a receiver."""
_ID_HEADERS: Final = (b"svix-id", b"webhook-id")


class CaughtFacts(Struct, frozen=True):
    """The facts of an event."""

    facts: Facts
    by: JudgedBy


def event_of_caught(request: CaughtRequest) -> Event | None:
    """Return the event of a request if it is about a service request, which alone can be judged."""
    event = events.decode(request.body) if request.body else None
    return event if isinstance(event, Event) and (event.sr_uuid or "").strip() else None


class ReceiverLedger:
    """The knowledge that a receiver has of service requests: what came to it alone. It is bounded, and kept in memory."""

    def __init__(self, most: int = MOST_REQUESTS) -> None:
        """
        Args:
            most: how many service requests, and how many caught requests, are known.
        """
        self._most = most
        self._rows: OrderedDict[str, ServiceRequest] = OrderedDict()
        self._facts: OrderedDict[int, Facts | None] = OrderedDict()
        self._ids: OrderedDict[bytes, Facts | None] = OrderedDict()

    def take(self, request: CaughtRequest, *, signed: bool | None) -> None:
        """Judge a request that came. Call it once for each, in the order in which they came.

        Args:
            signed: False: a gateway would refuse it, so it adds nothing to what is known; None: that could not be checked.
        """
        event = event_of_caught(request)
        if event is None or event.sr_uuid is None:
            return
        sender_id = next((value for name, value in request.headers if name.lower() in _ID_HEADERS), None)
        if sender_id is not None and sender_id in self._ids:
            _keep(self._facts, request.number, self._ids[sender_id], self._most)  # it is the same message, and adds nothing
            return
        known = self._rows.get(event.sr_uuid)
        facts, row = judge(known, event, request.at)
        shown = None if known is None else facts  # nothing is known of what went before the first event
        _keep(self._facts, request.number, shown, self._most)
        if signed is not False:
            _keep(self._rows, event.sr_uuid, row, self._most)
            if sender_id is not None:
                _keep(self._ids, sender_id, shown, self._most)

    def facts(self, number: int) -> Facts | None:
        """Return the facts of a request; None if its event was not judged, was the first of its service request, or has gone."""
        return self._facts.get(number)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep a value as the newest one; the oldest goes if there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
