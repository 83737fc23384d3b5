"""The `http` sink: an internal callback that gets the body byte for byte as it came, signed with our own secret."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from gateway.core.outcome import Outcome, Retry
from gateway.core.signature import Key, sign
from gateway.core.values import SecretRef
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.sinks.guard import Guard

OWN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "content-type", "idempotency-key", "authorization")
)
"""What `headers` may not set, beside `webhook-*` and `x-gateway-*`: the gateway sets them itself."""


class HttpConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="http"):
    url: str
    secret: SecretRef | None = None
    """Signs what we send, by Standard Webhooks."""
    bearer: SecretRef | None = None
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    reject_on: list[int] = field(default_factory=list)
    allow_networks: list[str] | None = None


class Request(Struct, frozen=True):
    headers: dict[str, str]
    body: bytes


def render(delivery: Outgoing, keys: Sequence[Key], now: float) -> Request:
    """What is sent, but for the headers that the operator configured (CONTRACT section 6)."""
    headers = {
        "webhook-id": delivery.delivery_id,
        "idempotency-key": delivery.delivery_id,
        "x-gateway-message-id": delivery.message_id,
        "x-gateway-attempt": str(delivery.attempt),
        "x-gateway-milestone": delivery.milestone,
    }
    if delivery.sender_id is not None:
        headers["x-gateway-sender-id"] = delivery.sender_id
    if delivery.content_type is not None:
        headers["content-type"] = delivery.content_type
    if keys:
        headers |= sign(keys, delivery.delivery_id, now, delivery.body)
    return Request(headers, delivery.body)


class HttpSink:
    def __init__(self, config: HttpConfig, opening: Opening) -> None:
        from gateway.sinks.transport import Transport  # and aiohttp: a command that sends nothing need not wait for it

        self._config = config
        self._clock = opening.clock
        self._keys = [Key(opening.secret(config.secret))] if config.secret else []
        self._headers = {
            name: opening.secret(value).reveal() if isinstance(value, SecretRef) else value
            for name, value in config.headers.items()
        }
        if config.bearer is not None:
            self._headers["authorization"] = f"Bearer {opening.secret(config.bearer).reveal()}"
        self._transport = Transport(Guard.of(config.allow_networks), config.concurrency, config.timeout)

    async def send(self, delivery: Outgoing) -> Outcome:
        request = render(delivery, self._keys, self._clock.now())
        answer = await self._transport.post(self._config.url, request.body, self._headers | request.headers)
        if isinstance(answer, Retry):
            return answer
        return answer.outcome(self._clock.now(), self._config.reject_on)

    async def aclose(self) -> None:
        await self._transport.aclose()
