"""The rules about the values and secrets of a `slack` sink."""

from __future__ import annotations

import re

from gateway.core.urls import UrlError, parse_url
from gateway.sinks.checking import (
    Files,
    Resolved,
    Say,
    check_networks,
    check_proxy,
    check_reachable_url,
    check_secret_proxy,
    check_url,
    is_token,
    token_trouble,
)
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import TEMPLATES
from gateway.sinks.text.readable import check_readable


def check(config: SlackConfig, say: Say, files: Files) -> None:
    check_readable(config, TEMPLATES, say, files)
    check_networks("allow_networks", config.allow_networks, say)
    check_reachable_url("api", config.api, config.allow_networks if config.proxy is None else None, say)
    check_proxy(config.proxy, config.allow_networks, say)
    check_url("api", config.api, say)
    if "?" in config.api:
        say("api", "has a query, but the names of methods are appended to it", "leave it out")
    if config.webhook_url is not None:
        for key in ("token", "channel"):
            if getattr(config, key) is not None:
                say(key, "has no effect together with webhook_url", "remove one of the two", level="warning")
    elif config.token is None and config.channel is None:
        say("webhook_url", "is missing", "or a token and a channel, for a thread per service request")
    elif config.token is None:
        say("token", "is missing: there is a channel")
    elif not config.channel:
        say("channel", "is missing: there is a token" if config.channel is None else "is empty")
    elif (trouble := _channel_trouble(config.channel)) is not None:
        say("channel", trouble, 'write its id, such as "C0123456789", or its name, such as "#fraud-desk"')


def check_secrets(config: SlackConfig, say: Say, resolved: Resolved) -> None:
    if (url := resolved.reveal(config.webhook_url)) is not None:
        try:
            parse_url(url)
        except UrlError as error:
            say("webhook_url", f"the secret of {config.webhook_url} {error.wrong}", error.hint)
    check_secret_proxy(config.proxy, config.allow_networks, say, resolved)
    if (token := resolved.reveal(config.token)) is not None:
        if not is_token(token):
            say("token", f"the secret of {config.token} can't be a token: it is not plain ASCII")
        elif (trouble := token_trouble(token)) is not None:
            say("token", f"the secret of {config.token} {trouble}", "the token alone")


def _channel_trouble(text: str) -> str | None:
    """Say why a text is not a channel of Slack (docs.slack.dev, chat.postMessage: an id, or a name of at most 80 characters)."""
    if not text.isprintable() or any(character.isspace() for character in text):
        return "has a blank or a control character in it"
    if "://" in text or "/" in text:
        return "is a link, but must be a channel"
    if re.search(r"[${}<>,;\"]", text) or text.startswith("@"):
        return "is not a channel"
    return None
