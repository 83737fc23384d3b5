"""The keys of an `http` sink."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from gateway.core.secrets import SecretRef
from gateway.sinks.base import SinkSettings

Format = Literal["raw", "envelope", "cloudevents"]


class Basic(Struct, frozen=True, kw_only=True):
    username: str
    password: SecretRef


class HttpConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="http"):
    url: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    format: Format = "raw"
    secret: SecretRef | list[SecretRef] | None = None
    """The secret that signs each request by Standard Webhooks; if there are two, each of them signs."""
    bearer: SecretRef | None = None
    basic: Basic | None = None
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    certificate: SecretRef | None = None
    """The client certificate, which needs `key`. It is no secret, but it is found like one, and a reload reads it again."""
    key: SecretRef | None = None
    ca: str | None = None
    reject_on: list[int] = field(default_factory=list)
    proxy: str | SecretRef | None = None
    """The URL of an HTTP proxy; a secret if it holds a login."""
    allow_networks: list[str] | None = None

    @property
    def late_unsaid(self) -> bool:
        return not self.by_sr and self.on_stale is None

    @property
    def secrets(self) -> list[SecretRef]:
        """The secrets that sign."""
        return self.secret if isinstance(self.secret, list) else [self.secret] if self.secret is not None else []
