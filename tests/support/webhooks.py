"""Webhooks as Legitmark sends them: bodies, message ids and signatures (Standard Webhooks)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

PATH = "/webhooks/legitmark"
PAYLOADS = Path(__file__).parents[1] / "payloads"
"""The sample bodies that Legitmark publishes, one file each."""
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
"""The secret of Standard Webhooks' published test vector; it protects nothing."""

_numbers = iter(range(1, sys.maxsize))


def event(sr_uuid: str | None = None, **fields: Any) -> bytes:
    """The body of a `state_change`, by default of a service request that no other event of this run has."""
    values: dict[str, Any] = {
        "event_type": "state_change",
        "sr_uuid": sr_uuid or f"sr-{next(_numbers)}",
        "reference_id": "BAG-1",
        "state": {"primary": "QC", "supplement": "PENDING"},
        "timestamp": "2026-03-01T22:05:59.000Z",
    }
    return json.dumps(values | fields, ensure_ascii=False, separators=(",", ":")).encode()


def new_id() -> str:
    """A message id that no other test of this run has."""
    return f"msg_{os.getpid()}_{next(_numbers)}"


def signed(
    body: bytes,
    message_id: str | None = None,
    *,
    age: float = 0.0,
    timestamp: str | None = None,
    family: str = "svix",
    secret: str = SECRET,
) -> list[tuple[str, str | bytes]]:
    """The three headers of a signed webhook, made by the package `standardwebhooks` where it can make them.

    Args:
        age: seconds before now; a negative age lies in the future.
        timestamp: the text of the timestamp header, which is signed as it is; it replaces `age`.
    """
    message_id = message_id or new_id()
    instant = int(time.time() - age)
    if timestamp is None:
        timestamp = str(instant)
        try:
            signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(instant, UTC), body.decode())
        except UnicodeDecodeError:
            signature = hmac_signature(message_id, timestamp, body, secret)
    else:
        signature = hmac_signature(message_id, timestamp, body, secret)
    return [(f"{family}-id", message_id), (f"{family}-timestamp", timestamp), (f"{family}-signature", signature)]


def hmac_signature(message_id: str, timestamp: str, body: bytes, secret: str = SECRET) -> str:
    """The signature of Standard Webhooks without the package, which refuses odd timestamps and bodies that are not text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
