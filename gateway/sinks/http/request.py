"""The request of an `http` sink, apart from the headers that the operator configured. Knows no connection."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gateway.core.signature import Key, sign
from gateway.sinks.base import Outgoing
from gateway.sinks.http.config import Format
from gateway.sinks.text import envelope

OWN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "content-type", "idempotency-key", "authorization")
) | {"expect", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"}
"""The names that `headers` may not set, beside `webhook-*` and `x-gateway-*`: the gateway sets them itself, or they would promise
the server something that the client does not do (RFC 9110, sections 7.6.1 and 10.1.1)."""
OWN_PREFIXES = ("webhook-", "x-gateway-")


class Request(Struct, frozen=True):
    headers: dict[str, str]
    body: bytes


def render(delivery: Outgoing, keys: Sequence[Key], now: float, format_: Format = "raw", *, marks_late: bool = True) -> Request:
    """Build the request. The signature covers the bytes that are sent.

    Args:
        now: Unix seconds, for the timestamp beside the signature.
        marks_late: a header says that the event is late, if it is.
    """
    match format_:
        case "raw":
            body, content_type = delivery.body, delivery.message.content_type
        case "envelope":
            body, content_type = envelope.envelope(delivery), "application/json"
        case "cloudevents":
            body, content_type = envelope.cloud_event(delivery), "application/cloudevents+json"
    headers = {
        "webhook-id": delivery.delivery_id,
        "idempotency-key": delivery.delivery_id,
        "x-gateway-message-id": delivery.message_id,
        "x-gateway-attempt": str(delivery.attempt),
        "x-gateway-milestone": delivery.milestone,
    }
    if delivery.sender_id is not None:
        headers["x-gateway-sender-id"] = delivery.sender_id
    if (facts := delivery.message.facts) is not None:
        headers["x-gateway-round"] = str(facts.round)
        if facts.stale and marks_late:
            headers["x-gateway-stale"] = "true"
    if delivery.drill:
        headers["x-gateway-drill"] = "true"
    if delivery.reconciled:
        headers["x-gateway-reconciled"] = "true"
    if content_type is not None:
        headers["content-type"] = content_type
    if keys:
        headers |= sign(keys, delivery.delivery_id, now, body)
    return Request(headers, body)
