"""A delivery as one JSON document with the body embedded unchanged: the envelope, which is also the line of a `jsonl` sink, and
the CloudEvent. The same delivery gives the same bytes at each of its attempts.
"""

from __future__ import annotations

import base64
import re

import msgspec

from gateway.core import events
from gateway.core.values import rfc3339
from gateway.sinks.base import Outgoing

_BREAKS = re.compile(rb"(?<![ \t\r\n])[ \t]*+[\r\n][ \t\r\n]*+")
"""White space that contains a line break. Inside a JSON string a line break is always escaped (RFC 8259, section 7).
The quantifiers are possessive, and a match begins where white space begins: else a body of blanks would take minutes."""
_NOT_IN_ATTRIBUTES = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)
"""Characters that a String may not contain (CloudEvents 1.0.2, "Type System")."""
_MEDIA_TYPE = re.compile(r"[!#-'*+.^-z|~-]+/[!#-'*+.^-z|~-]+[\t -~]*")


def envelope(delivery: Outgoing) -> bytes:
    """Return the envelope as one line, without a line end.

    `body` is the body as it came, with its numbers, its order of keys and its duplicate keys; `body_text` is a body that is not
    JSON.
    """
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
    """Return a document of CloudEvents 1.0.2 in the JSON format, structured mode.

    `data` is the body as it came; `data_base64` is a body that is not JSON. `id` is the id of the message, so that an event has
    the same id in every sink.
    """
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
    """Return the body in a form that can stand in a line of JSON; None if it is not JSON."""
    if delivery.event is None and not events.is_json(delivery.body):
        return None
    return _BREAKS.sub(b"", delivery.body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"))


def _closed(head: dict[str, object], name: bytes, value: bytes) -> bytes:
    return b'%b,"%b":%b}' % (msgspec.json.encode(head)[:-1], name, value)


def _attribute(text: str | None) -> str:
    return _NOT_IN_ATTRIBUTES.sub("\ufffd", text or "")


def _happened(delivery: Outgoing) -> str:
    """Return when the event happened, or when it was received if it names no instant that RFC 3339 can express."""
    instant = delivery.event.instant() if delivery.event else None
    try:
        return rfc3339(delivery.received_at if instant is None else instant)
    except (ValueError, OverflowError):  # in a year beyond 9999, counted in UTC
        return rfc3339(delivery.received_at)


def _opaque(content_type: str | None) -> str:
    """Return the media type of a body that is not JSON: the declared one, unless it is missing, malformed or JSON."""
    if content_type is None or _MEDIA_TYPE.fullmatch(content_type) is None or "json" in content_type.lower():
        return "application/octet-stream"
    return content_type
