"""Shared by the tests of requests: the configuration of their gateway, a body, and the shape of a refusal."""

from __future__ import annotations

from tests.support.exchange import Answer, Headers
from tests.support.webhooks import event, signed

BODY = event("sr-bad-input")
MAX_BODY = 256 * 1024
OPEN = "/webhooks/open"
CONFIG = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK" }]

[sources.open]
verify = "none"

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
sinks = ["archive"]
"""


def refused(answer: Answer, status: int, code: str) -> None:
    """Check that an answer is an error of docs/reference.md, "Receiving webhooks", in its shape."""
    assert answer.outcome == (status, code), answer
    assert set(answer.json()) == {"error", "detail"} and answer.json()["detail"]
    assert answer.header("webhook-delivery") is None


def with_signature(value: str | bytes) -> Headers:
    """The headers of BODY with another signature."""
    return [*signed(BODY)[:2], ("svix-signature", value)]


def chunked(body: bytes, size: int = 16 * 1024) -> bytes:
    """A body in chunks (RFC 9112, section 7.1)."""
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
