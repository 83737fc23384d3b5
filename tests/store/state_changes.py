"""Messages about service requests, for the tests of the ledger in the store, and the row that judging them gives."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import msgspec

from gateway.core.events import Event, decode
from gateway.core.judge import judge
from gateway.core.ledger import ServiceRequest
from gateway.core.records import Message, NewMessage
from gateway.core.signature import Signed
from gateway.core.values import rfc3339
from tests.fakes import START

SR = "b16c763b-5a4c-4f0e-8b3e-1f1f1f1f1f1f"
STATES = {
    "P": ("QC", "PENDING"),
    "R": ("QC", "REJECTED"),
    "A": ("QC", "APPROVED"),
    "U": ("UNDERWAY", "ASSIGNED"),
    "C": ("COMPLETE", "APPROVED"),
    "F": ("COMPLETE", "REJECTED"),
}
_numbers = itertools.count(1)


def event(
    letter: str,
    minute: float,
    *,
    sr: str | None = SR,
    reference: str | None = "ITEM-1001",
    at: float | None = None,
    source: str = "legitmark",
    sinks: Sequence[str] = ("erp",),
    sender_id: str | None = None,
    signed: Signed | None = None,
) -> NewMessage:
    """Return a state change that happened some minutes after START, and arrives at `at`, or an hour after START."""
    primary, supplement = STATES[letter]
    happened = START + 60 * minute
    values = {"event_type": "state_change", "sr_uuid": sr, "reference_id": reference, "timestamp": rfc3339(happened)}
    body = json.dumps(values | {"state": {"primary": primary, "supplement": supplement}}).encode()
    decoded = decode(body)
    assert isinstance(decoded, Event)
    number = next(_numbers)
    received = START + 3600 if at is None else at
    message = Message(
        id=f"{number:032x}",
        source=source,
        sender_id=sender_id or f"msg_{number}",
        received_at=received,
        content_type="application/json",
        body=body,
        event_type="state_change",
        milestone=decoded.milestone.value,
        sr_uuid=sr,
        reference_id=reference,
    )
    deliveries = tuple((sink, received) for sink in sinks)
    return NewMessage(message, "accepted", None, deliveries, event_at=happened, event=lambda: decoded, signed=signed)


def rejected_photos(minute: float) -> NewMessage:
    """Return a media_rejected that happened some minutes after START."""
    new = event("R", minute)
    body = json.dumps(json.loads(new.message.body) | {"event_type": "media_rejected", "state": None}).encode()
    decoded = decode(body)
    assert isinstance(decoded, Event)
    message = msgspec.structs.replace(
        new.message, body=body, event_type="media_rejected", milestone=decoded.milestone.value, sender_id=f"media {minute}"
    )
    return msgspec.structs.replace(new, message=message, event=lambda: decoded)


def judged(news: Sequence[NewMessage]) -> ServiceRequest:
    """Return the row that judging these messages one after the other gives."""
    row = None
    for new in news:
        assert new.event is not None
        _, row = judge(row, new.event(), new.message.received_at)
    assert row is not None
    return row
