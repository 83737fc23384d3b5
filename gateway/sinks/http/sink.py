"""The `http` sink: an internal callback that gets the body byte for byte as it came, or in an envelope, signed with a secret of
our own (docs/reference.md, "What a sink receives")."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from typing import ClassVar, Literal

from msgspec import Struct, field

from gateway.core.outcome import Outcome, Retry
from gateway.core.secrets import SecretRef
from gateway.core.signature import Key, sign
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.sinks.net import tls
from gateway.sinks.net.guard import Guard
from gateway.sinks.text import envelope

OWN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "content-type", "idempotency-key", "authorization")
) | {"expect", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
"""What `headers` may not set, beside `webhook-*` and `x-gateway-*`: the gateway sets them itself, or they would promise
the server what the client does not do (RFC 9110, sections 7.6.1 and 10.1.1)."""
MOST_SECRETS = 2
"""That sign side by side: the old one and the new one."""


Format = Literal["raw", "envelope", "cloudevents"]


class Basic(Struct, frozen=True, kw_only=True):
    username: str
    password: SecretRef


class HttpConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="http"):
    destination: ClassVar = ("url",)

    url: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    format: Format = "raw"
    secret: SecretRef | list[SecretRef] | None = None
    """Signs what we send, by Standard Webhooks; of two, each."""
    bearer: SecretRef | None = None
    basic: Basic | None = None
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    certificate: SecretRef | None = None
    """The client certificate, which needs `key`. It is no secret, but is found like one, and read anew by a reload."""
    key: SecretRef | None = None
    ca: str | None = None
    reject_on: list[int] = field(default_factory=list)
    allow_networks: list[str] | None = None

    @property
    def secrets(self) -> list[SecretRef]:
        """Those that sign."""
        return self.secret if isinstance(self.secret, list) else [self.secret] if self.secret is not None else []


class Request(Struct, frozen=True):
    headers: dict[str, str]
    body: bytes


def render(delivery: Outgoing, keys: Sequence[Key], now: float, format_: Format = "raw") -> Request:
    """What is sent, but for the headers that the operator configured. The signature is over the bytes that are sent."""
    match format_:
        case "raw":
            body, content_type = delivery.body, delivery.content_type
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
    if delivery.drill:
        headers["x-gateway-drill"] = "true"
    if content_type is not None:
        headers["content-type"] = content_type
    if keys:
        headers |= sign(keys, delivery.delivery_id, now, body)
    return Request(headers, body)


def tls_context(config: HttpConfig, opening: Opening) -> ssl.SSLContext | None:
    """The sink's own; None where it needs none. Raises ValueError, as `tls.context`."""
    if config.ca is None and config.certificate is None:
        return None
    return tls.context(
        None if config.ca is None else opening.base / config.ca,
        None if config.certificate is None else opening.secret(config.certificate),
        None if config.key is None else opening.secret(config.key),
    )


class HttpSink:
    def __init__(self, config: HttpConfig, opening: Opening) -> None:
        from gateway.sinks.net.http_client import Transport  # a command that sends nothing need not wait for its import

        self._config = config
        self._clock = opening.clock
        self._keys = [Key(opening.secret(ref)) for ref in config.secrets]
        told = [opening.secret(ref).reveal().removeprefix("whsec_") for ref in config.secrets]
        self._headers: dict[str, str] = {}
        for name, value in config.headers.items():
            self._headers[name] = opening.secret(value).reveal() if isinstance(value, SecretRef) else value
            told += [self._headers[name]] if isinstance(value, SecretRef) else []
        if config.bearer is not None:
            told.append(token := opening.secret(config.bearer).reveal())
            self._headers["authorization"] = f"Bearer {token}"
        if config.basic is not None:
            password = opening.secret(config.basic.password).reveal()
            login = base64.b64encode(f"{config.basic.username}:{password}".encode()).decode()  # RFC 7617, section 2.1: UTF-8
            told += [password, login]
            self._headers["authorization"] = f"Basic {login}"
        guard = Guard.of(config.allow_networks)
        self._transport = Transport(guard, config.concurrency, config.timeout, tls=tls_context(config, opening), secrets=told)

    async def send(self, delivery: Outgoing) -> Outcome:
        request = render(delivery, self._keys, self._clock.now(), self._config.format)
        del delivery  # its decoded event takes many times the body, and the answer may be long in coming
        headers = self._headers | request.headers
        answer = await self._transport.request(self._config.method, self._config.url, request.body, headers)
        if isinstance(answer, Retry):
            return answer
        return answer.outcome(self._clock.now(), self._config.reject_on)

    async def aclose(self) -> None:
        await self._transport.aclose()
