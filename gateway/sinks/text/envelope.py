"""A delivery as one JSON document with the body embedded unchanged: the envelope, which is also the line of a `jsonl` sink, and
the CloudEvent. The same delivery gives the same bytes at each of its attempts.
"""

from __future__ import annotations

import base64
import re

import msgspec

from gateway.core import events
from gateway.core.records import Message
from gateway.core.values import EARLIEST, LATEST, rfc3339
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
    message = delivery.message
    head: dict[str, object] = {
        "v": 1,
        "time": rfc3339(message.received_at),
        "message_id": message.id,
        "sender_id": message.sender_id,
        "source": message.source,
        "event_type": message.event_type,
        "milestone": message.milestone,
        "sr_uuid": message.sr_uuid,
        "reference_id": message.reference_id,
    }
    if delivery.drill:
        head["drill"] = True
    if (body := _as_json(message)) is not None:
        return _closed(head, b"body", body)
    return _closed(head, b"body_text", msgspec.json.encode(message.body.decode("utf-8", "replace")))


def cloud_event(delivery: Outgoing) -> bytes:
    """Return a document of CloudEvents 1.0.2 in the JSON format, structured mode.

    `data` is the body as it came; `data_base64` is a body that is not JSON. `id` is the id of the message, so that an event has
    the same id in every sink.
    """
    message = delivery.message
    head: dict[str, object] = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": _attribute(message.event_type) or events.Milestone.UNRECOGNIZED.value,
        "time": _happened(delivery),
    }
    if subject := _attribute(message.sr_uuid):
        head["subject"] = subject
    if delivery.drill:
        head["drill"] = True
    if (body := _as_json(message)) is not None:
        return _closed(head | {"datacontenttype": "application/json"}, b"data", body)
    data = msgspec.json.encode(base64.b64encode(message.body).decode())
    return _closed(head | {"datacontenttype": _opaque(message.content_type)}, b"data_base64", data)


def _as_json(message: Message) -> bytes | None:
    """Return the body in a form that can stand in a line of JSON; None if it is not JSON."""
    if message.milestone is None and not events.is_json(message.body):  # every object has a milestone
        return None
    return _BREAKS.sub(b"", message.body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"))


def _closed(head: dict[str, object], name: bytes, value: bytes) -> bytes:
    return b'%b,"%b":%b}' % (msgspec.json.encode(head)[:-1], name, value)


def _attribute(text: str | None) -> str:
    return _NOT_IN_ATTRIBUTES.sub("\ufffd", text or "")


def _happened(delivery: Outgoing) -> str:
    """Return when the event happened, or when it was received if it names no instant that RFC 3339 can express."""
    instant = delivery.event.instant() if delivery.event else None
    if instant is None or not EARLIEST <= instant <= LATEST:  # others lie in the year 0 or 10000, counted in UTC
        instant = delivery.message.received_at
    return rfc3339(instant)


def _opaque(content_type: str | None) -> str:
    """Return the media type of a body that is not JSON: the declared one, unless it is missing, malformed or JSON."""
    if content_type is None or _MEDIA_TYPE.fullmatch(content_type) is None or "json" in content_type.lower():
        return "application/octet-stream"
    return content_type
