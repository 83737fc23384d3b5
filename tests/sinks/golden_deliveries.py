"""The deliveries that the golden files show."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.ledger import Facts
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
    "gateway.source_silent": {
        "source": "legitmark",
        "since": "2026-03-04T10:30:00.000Z",
        "detail": "nothing has come from legitmark for 1d",
    },
    "gateway.sink_failing": {
        "sink": "erp",
        "reason": "timeout",
        "detail": "no outcome within 30 s",
        "since": "2026-03-05T09:30:00.000Z",
    },
    "gateway.sr_stalled": {
        "watch": "QC longer than 4 h",
        "source": "legitmark",
        "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718",
        "reference_id": "ITEM-1042",
        "state": {"primary": "QC", "supplement": "PENDING"},
        "since": "2026-03-05T06:30:00.000Z",
        "count": 1,
        "detail": "QC/PENDING since 2026-03-05T06:30:00.000Z, longer than 4h",
    },
    "gateway.drift": {
        "source": "legitmark",
        "kind": "field",
        "value": "sides[].angle",
        "path": "sides[1].angle",
        "detail": "legitmark sent the field 'sides[].angle' for the first time, at sides[1].angle",
        "reference_id": "ITEM-1042",
    },
    "gateway.sr_differs": {
        "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718",
        "reference_id": "ITEM-1042",
        "state": {"primary": "COMPLETE", "supplement": "REJECTED"},
        "known_state": "UNDERWAY/ASSIGNED",
        "updated_at": "2026-03-05T07:12:00Z",
        "detail": "Legitmark's API says COMPLETE/REJECTED, the gateway knows UNDERWAY/ASSIGNED",
    },
}
_STALLED_MANY = {
    "event_type": "gateway.sr_stalled",
    "timestamp": "2026-03-05T10:30:00Z",
    "watch": None,
    "count": 1000,
    "more": True,
    "requests": [{"watch": "QC longer than 4 h", "sr_uuid": "a", "reference_id": f"ITEM-{number}"} for number in range(20)],
    "detail": "QC longer than 4 h: 998; queued for long: 2; …",
}
_ABOUT_NO_REQUEST = ("gateway.source_silent", "gateway.sink_failing")
_ABOUT_NO_MESSAGE = (*_ABOUT_NO_REQUEST, "gateway.sr_stalled", "gateway.sr_differs")


def deliveries() -> dict[str, Outgoing]:
    """Return every sample, every event of the gateway itself, a message that cannot be read, and a drill."""
    found = {name: outgoing(msgspec.json.encode(values)) for name, values in SAMPLES.items()}
    for name, facts in NOTICES.items():
        body = {
            "event_type": name,
            "timestamp": "2026-03-05T10:30:00Z",
            "sr_uuid": "5a0e7c1d-3b52-4c8e-9f64",
            **facts,
        }
        if name in _ABOUT_NO_REQUEST:
            del body["sr_uuid"]
        if name not in _ABOUT_NO_MESSAGE:
            body["message_id"] = MESSAGE_ID
        found[name] = outgoing(msgspec.json.encode(body), source="gateway")
    found["gateway.sr_stalled.many"] = outgoing(msgspec.json.encode(_STALLED_MANY), source="gateway")
    told = SAMPLES["counterfeit"] | {"reconciled": True}
    found["reconciled"] = outgoing(msgspec.json.encode(told), source="reconcile", sender_id=None)
    found["unreadable"] = outgoing(b"[1, 2]")
    found["drill"] = msgspec.structs.replace(found["authentic"], drill=True)
    return found


def joined(first: str, second: str, facts: Facts) -> Outgoing:
    """Return a delivery that tells both events of a rejection; the first one came first."""
    one, other = (outgoing(msgspec.json.encode(SAMPLES[name]), facts=facts) for name in (first, second))
    return msgspec.structs.replace(one, partner=msgspec.structs.replace(other.message, id=MESSAGE_ID[::-1]))


DELIVERIES = deliveries()
FOR_PEOPLE = DELIVERIES | {
    "joined": joined("qc_rejected", "needs_resubmission", Facts(round=1)),
    "joined_second": joined("needs_resubmission_ja", "qc_rejected", Facts(round=2)),
}
"""Those that only messages for people can tell, too: both events of a rejection at once."""
