"""The deliveries that the golden files show."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.samples import SAMPLES
from gateway.sinks.base import Outgoing
from tests.sinks.sending import MESSAGE_ID, outgoing

NOTICES: dict[str, dict[str, Any]] = {
    "gateway.delivery_dead": {
        "sink": "erp",
        "reason": "attempts_exhausted",
        "detail": "HTTP 500 Internal Server Error",
        "message_id": MESSAGE_ID,
        "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718",
        "reference_id": "ITEM-1042",
    },
    "gateway.sink_opened": {"sink": "erp", "reason": "connect", "detail": "erp.internal:443: connection refused"},
    "gateway.sealed": {
        "seal": "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        "number": 1440,
        "detail": "seal 1440 of the audit log: 5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    },
    "gateway.message_quarantined": {"message_id": MESSAGE_ID, "detail": "the body is not JSON"},
}


def deliveries() -> dict[str, Outgoing]:
    """Return every sample, every event of the gateway itself, a message that cannot be read, and a drill."""
    found = {name: outgoing(msgspec.json.encode(values)) for name, values in SAMPLES.items()}
    for name, facts in NOTICES.items():
        body = {
            "event_type": name,
            "timestamp": "2026-03-05T10:30:00Z",
            "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64",
            **facts,
            "message_id": MESSAGE_ID,
        }
        found[name] = outgoing(msgspec.json.encode(body), source="gateway")
    found["unreadable"] = outgoing(b"[1, 2]")
    found["drill"] = msgspec.structs.replace(found["authentic"], drill=True)
    return found


DELIVERIES = deliveries()
