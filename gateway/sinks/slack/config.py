"""The keys of a `slack` sink."""

from __future__ import annotations

from typing import Literal

from gateway.core.secrets import SecretRef
from gateway.core.values import Rate
from gateway.sinks.base import ReadableSettings


class SlackConfig(ReadableSettings, frozen=True, kw_only=True, tag_field="type", tag="slack"):
    webhook_url: SecretRef | None = None
    token: SecretRef | None = None
    """The token of a bot with the scope chat:write; used if there is no `webhook_url`."""
    channel: str | None = None
    api: str = "https://slack.com/api"
    concurrency: int = 1
    rate: Rate | None = Rate("1/s")
    ordering: Literal["none", "sr"] | None = None
    """The order of deliveries. None means "sr" with a token, so that two events of a service request begin one thread; without a
    token it means "none"."""
    proxy: str | SecretRef | None = None
    """The URL of an HTTP proxy; a secret if it holds a login."""
    allow_networks: list[str] | None = None

    @property
    def by_token(self) -> bool:
        return self.webhook_url is None and self.token is not None

    @property
    def by_sr(self) -> bool:
        return self.ordering == "sr" or (self.ordering is None and self.by_token)
