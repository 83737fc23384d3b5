"""A delivery as one JSON document, the body embedded in it unchanged: the envelope, which is also the line of a `jsonl` sink,
and the CloudEvent. The same delivery gives the same bytes, at each of its attempts.
"""

from __future__ import annotations

import base64
import re

import msgspec

from gateway.core import events
from gateway.core.values import rfc3339
from gateway.sinks.base import Outgoing

_BREAKS = re.compile(rb"(?<![ \t\r\n])[ \t]*+[\r\n][ \t\r\n]*+")
"""White space that holds a line break; inside a JSON string a line break is always escaped (RFC 8259, section 7).
Possessive, and only from where the white space begins: a body of blanks would take minutes otherwise."""
_NOT_IN_ATTRIBUTES = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)
"""What a String may not hold (CloudEvents 1.0.2, "Type System")."""
_MEDIA_TYPE = re.compile(r"[!#-'*+.^-z|~-]+/[!#-'*+.^-z|~-]+[\t -~]*")


def envelope(delivery: Outgoing) -> bytes:
    """One line, without its end. `body` is the body as it came (numbers, the order of keys and doubled keys too), `body_text` a
    body that is no JSON."""
    event = delivery.event
    head: dict[str, object] = {
        "v": 1,
        "time": rfc3339(delivery.received_at),
        "message_id": delivery.message_id,
        "sender_id": delivery.sender_id,
        "source": delivery.source,
        "event_type": event.event_type if event else None,
        "milestone": event.milestone.value if event else None,
        "sr_uuid": event.sr_uuid if event else None,
        "reference_id": event.reference_id if event else None,
    }
    if delivery.drill:
        head["drill"] = True
    if (body := _as_json(delivery)) is not None:
        return _closed(head, b"body", body)
    return _closed(head, b"body_text", msgspec.json.encode(delivery.body.decode("utf-8", "replace")))


def cloud_event(delivery: Outgoing) -> bytes:
    """CloudEvents 1.0.2 in the JSON format, structured mode: one document, `data` the body as it came, `data_base64` one that is
    no JSON. `id` is the message's, so that one event has one id, whichever sinks it goes to."""
    event = delivery.event
    head: dict[str, object] = {
        "specversion": "1.0",
        "id": delivery.message_id,
        "source": delivery.source,
        "type": _attribute(event.event_type if event else None) or events.Milestone.UNRECOGNIZED.value,
        "time": _happened(delivery),
    }
    if subject := _attribute(event.sr_uuid if event else None):
        head["subject"] = subject
    if delivery.drill:
        head["drill"] = True
    if (body := _as_json(delivery)) is not None:
        return _closed(head | {"datacontenttype": "application/json"}, b"data", body)
    data = msgspec.json.encode(base64.b64encode(delivery.body).decode())
    return _closed(head | {"datacontenttype": _opaque(delivery.content_type)}, b"data_base64", data)


def _as_json(delivery: Outgoing) -> bytes | None:
    """The body as it can stand in a line of JSON; None where it is no JSON."""
    if delivery.event is None and not events.is_json(delivery.body):
        return None
    return _BREAKS.sub(b"", delivery.body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"))


def _closed(head: dict[str, object], name: bytes, value: bytes) -> bytes:
    return b'%b,"%b":%b}' % (msgspec.json.encode(head)[:-1], name, value)


def _attribute(text: str | None) -> str:
    return _NOT_IN_ATTRIBUTES.sub("\ufffd", text or "")


def _happened(delivery: Outgoing) -> str:
    """When the event says that it happened; where it says nothing that RFC 3339 could, when it was received."""
    instant = delivery.event.instant() if delivery.event else None
    try:
        return rfc3339(delivery.received_at if instant is None else instant)
    except (ValueError, OverflowError):  # in a year beyond 9999, counted in UTC
        return rfc3339(delivery.received_at)


def _opaque(content_type: str | None) -> str:
    """The media type of a body that is no JSON: what was said of it, unless that was JSON, or no media type."""
    if content_type is None or _MEDIA_TYPE.fullmatch(content_type) is None or "json" in content_type.lower():
        return "application/octet-stream"
    return content_type
