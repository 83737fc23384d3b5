"""What a sink would be sent, byte for byte, without sending it. Knows no secret: where one would stand, there is `***`."""

from __future__ import annotations

import base64
from typing import assert_never

from gateway.core.events import Event
from gateway.core.secrets import Secret, SecretRef
from gateway.core.signature import Key
from gateway.core.urls import parse_url
from gateway.host.clock import Clock
from gateway.sinks import EmailConfig, HttpConfig, JsonlConfig, SinkConfig, SlackConfig
from gateway.sinks.base import Outgoing
from gateway.sinks.email import sink as email
from gateway.sinks.http import sink as http
from gateway.sinks.jsonl import sink as jsonl
from gateway.sinks.net.http_client import head_of
from gateway.sinks.slack import sink as slack

HIDDEN = "***"
_ANY_KEY = Secret("whsec_" + base64.b64encode(bytes(32)).decode())


def first_attempt(sink: str, event: Event, body: bytes, source: str, clock: Clock) -> Outgoing:
    """A delivery as a lane would make it, had the event come now; its ids belong to no message."""
    message_id = clock.new_id()
    return Outgoing(
        delivery_id=f"{message_id}-{sink}",
        message_id=message_id,
        sender_id=f"msg_{clock.new_id()[:27]}",
        source=source,
        received_at=clock.now(),
        event=event,
        body=body,
        content_type="application/json",
        attempt=1,
    )


def rendered(config: SinkConfig, delivery: Outgoing, now: float) -> bytes:
    """The request of an `http` sink, the JSON of a `slack` one, the mail, or the line of a file.

    Args:
        now: Unix seconds, UTC, for the timestamp beside the signature.
    """
    match config:
        case HttpConfig():
            return _request(config, delivery, now)
        case SlackConfig():
            return slack.render(delivery, config)
        case EmailConfig():
            return email.render(delivery, config, email.template_of(config)).raw
        case JsonlConfig():
            return jsonl.render(delivery)
        case _:
            assert_never(config)


def _request(config: HttpConfig, delivery: Outgoing, now: float) -> bytes:
    # Signed with a key that is nobody's, so that the sink itself says which headers a signature brings.
    request = http.render(delivery, [Key(_ANY_KEY)] if config.secrets else [], now, config.format)
    headers = {name: HIDDEN if isinstance(value, SecretRef) else value for name, value in config.headers.items()}
    if config.bearer is not None:
        headers["authorization"] = f"Bearer {HIDDEN}"
    if config.basic is not None:
        headers["authorization"] = f"Basic {HIDDEN}"
    headers |= request.headers
    if config.secrets:
        headers["webhook-signature"] = " ".join(HIDDEN for _ in config.secrets)
    head = head_of(config.method, parse_url(config.url), len(request.body), headers)
    assert head is not None, "a header of a good configuration can be sent"
    return head + request.body
