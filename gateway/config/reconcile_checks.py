"""Checks on [reconcile]: how Legitmark's API is reached, and how often. They add findings and raise nothing."""

from __future__ import annotations

import re

from gateway.config.decode import suggestion
from gateway.config.location import Findings, say_at
from gateway.config.memo import Memo
from gateway.config.settings import Config
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
    is_header_value,
    token_trouble,
)
from gateway.sinks.http.request import OWN_HEADERS

_FASTEST = 2.0
"""Questions per second. Legitmark names no figure, and answers 429 if they are too many."""
_MOST = 20_000
"""Requests whose results are kept in memory: a few megabytes."""
_LONGEST_TIMEOUT = 300.0
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*")
"""RFC 9110, section 11.1: a scheme is a token."""


def check(config: Config, findings: Findings) -> None:
    """Run every check that needs no secret."""
    if (settings := config.reconcile) is None:
        return
    say = say_at(config.place("reconcile"), findings)
    check_url("url", settings.url, say)
    _check_target(settings.url, say)
    check_networks("allow_networks", settings.allow_networks, say)
    check_reachable_url("url", settings.url, settings.allow_networks if settings.proxy is None else None, say)
    check_proxy(settings.proxy, settings.allow_networks, say)
    if _HEADER.fullmatch(settings.header) is None:
        say("header", "is not a header name", 'write "authorization" or "x-api-key"')
    elif settings.header.lower() in OWN_HEADERS - {"authorization"}:
        say("header", "is set by the gateway itself", 'write "authorization" or "x-api-key"')
    if _SCHEME.fullmatch(settings.scheme) is None:
        say("scheme", "is not one word", 'write "Bearer", or "" for a header that holds the key alone')
    if settings.source is not None and settings.source not in config.sources:
        say("source", f'there is no source "{settings.source}"', suggestion(settings.source, config.sources))
    if settings.rate > _FASTEST:
        say("rate", "is more than 2/s", "the API refuses those that ask too often, and names no figure")
    if not 1 <= settings.most <= _MOST:
        say("most", f"must be between 1 and {_MOST}")
    if settings.gap < 60.0:
        say("gap", "must be at least 1m")
    if not 0 < settings.timeout <= _LONGEST_TIMEOUT:
        say("timeout", "must be longer than 0s, and at most 5m")


def check_secrets(config: Config, findings: Findings, now: float, memo: Memo) -> None:
    """Check the form of the API key and of the proxy's URL, and show nothing of them."""
    if (settings := config.reconcile) is None:
        return
    say = say_at(config.place("reconcile"), findings)
    resolved = Resolved(Files(config.base, {}), config.secrets, now, memo.get)
    check_secret_proxy(settings.proxy, settings.allow_networks, say, resolved)
    if (key := resolved.reveal(settings.api_key)) is None:
        return
    if key.lower().startswith(("bearer ", "basic ")):
        say("api_key", f"the secret of {settings.api_key} begins with a scheme", "the key alone; the scheme has its own key")
    elif " " in key:
        say("api_key", f"the secret of {settings.api_key} can't be a key: it has a blank in it")
    elif (trouble := token_trouble(key)) is not None:
        say("api_key", f"the secret of {settings.api_key} {trouble}", "the key alone")
    elif not key or not is_header_value(key):
        say("api_key", f"the secret of {settings.api_key} can't be sent in a header: it is empty, or not plain ASCII")


def _check_target(url: str, say: Say) -> None:
    """Check that a uuid can follow the URL."""
    try:
        target = parse_url(url).target
    except UrlError:
        return  # reported already
    if "?" in target:
        say("url", "has a query, but the uuid of a service request follows it", "end it with its path")
