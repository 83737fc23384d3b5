"""The keys of an `email` sink."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from gateway.core.secrets import SecretRef
from gateway.sinks.base import ReadableSettings


class EmailConfig(ReadableSettings, frozen=True, kw_only=True, tag_field="type", tag="email"):
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretRef | None = None
    sender: str
    recipients: list[str] = field(default_factory=list)
    concurrency: int = 2
    allow_networks: list[str] | None = None
