"""The `slack` sink: a message to an incoming webhook. Everything from a payload is escaped, so that it pings nobody."""

from __future__ import annotations

import msgspec

from gateway.core.outcome import Outcome, Retry
from gateway.core.values import Rate, SecretRef
from gateway.sinks import wording
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.sinks.guard import Guard


class SlackConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="slack"):
    webhook_url: SecretRef | None = None
    token: SecretRef | None = None
    channel: str | None = None
    concurrency: int = 1
    rate: Rate | None = Rate("1/s")
    allow_networks: list[str] | None = None


def escape(text: str) -> str:
    """Exactly the three characters that Slack asks for (docs.slack.dev, "Formatting message text": escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render(delivery: Outgoing) -> bytes:
    """The JSON of one message; nothing in it becomes a link, a mention or a preview on its own."""
    text = "\n".join([f"*{escape(wording.headline(delivery))}*", *(escape(line) for line in wording.lines(delivery))])
    return msgspec.json.encode({"text": text, "unfurl_links": False, "unfurl_media": False})


class SlackSink:
    def __init__(self, config: SlackConfig, opening: Opening) -> None:
        from gateway.sinks.transport import Transport  # and aiohttp: a command that sends nothing need not wait for it

        assert config.webhook_url is not None, "the configuration is refused without it"
        self._url = opening.secret(config.webhook_url).reveal()
        self._clock = opening.clock
        self._transport = Transport(Guard.of(config.allow_networks), config.concurrency, config.timeout)

    async def send(self, delivery: Outgoing) -> Outcome:
        headers = {"content-type": "application/json; charset=utf-8"}
        answer = await self._transport.post(self._url, render(delivery), headers)
        return answer if isinstance(answer, Retry) else answer.outcome(self._clock.now())

    async def aclose(self) -> None:
        await self._transport.aclose()
