"""The mail that an `email` sink would send."""

from __future__ import annotations

from gateway.sinks.base import Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render, template_of


def preview(config: EmailConfig, delivery: Outgoing, now: float) -> bytes:
    return render(delivery, config, template_of(config)).raw
