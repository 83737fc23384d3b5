"""The message that a `slack` sink would post, as JSON."""

from __future__ import annotations

from gateway.sinks.base import Outgoing
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import render


def preview(config: SlackConfig, delivery: Outgoing, now: float) -> bytes:
    return render(delivery, config)
