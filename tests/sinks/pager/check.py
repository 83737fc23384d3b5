"""The rules about the values and secrets of a `pager` sink."""

from __future__ import annotations

from gateway.sinks.checking import Files, Resolved, Say, check_networks, check_reachable, is_token
from tests.sinks.pager.config import PagerConfig


def check(config: PagerConfig, say: Say, files: Files) -> None:
    check_networks("allow_networks", config.allow_networks, say)
    check_reachable("host", config.host, config.allow_networks, say)
    if not (config.number.isdecimal() and 4 <= len(config.number) <= 12):
        say("number", f'"{config.number}" is no number of a pager', "4 to 12 digits")
    if files.texts.get("prefix", "-") == "":
        say("prefix", "can't be read")


def check_secrets(config: PagerConfig, say: Say, resolved: Resolved) -> None:
    token = resolved.reveal(config.token)
    if token is not None and not is_token(token):
        say("token", f"the secret of {config.token} can't be a token: it is not plain ASCII")
