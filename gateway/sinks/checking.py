"""The rules about values that several sink types share, and the way a check reports what it finds. Raises nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from gateway.core.proxies import parse_proxy
from gateway.core.secrets import Secret, SecretRef
from gateway.core.signature import Key
from gateway.core.urls import UrlError, parse_url
from gateway.host.certificates import order_trouble, validity
from gateway.sinks.net.address_guard import AddressGuard, parse_network

T = TypeVar("T")
Keys = str | tuple[str | int, ...]
"""A key of the sink, or the keys down to a value inside it; a number counts the elements of a list from 0."""


class Say(Protocol):
    """Reports a problem at a key of the sink."""

    def __call__(
        self,
        keys: Keys,
        wrong: str,
        hint: str = "",
        *,
        on: Literal["key", "value"] = "value",
        level: Literal["error", "warning"] = "error",
    ) -> None:
        """
        Args:
            wrong: continues the place that is shown in front of it, such as "must be at least 1".
            on: where the caret points.
        """


class Once(Protocol):
    """Remembers results from one reload to the next."""

    def __call__(self, key: Hashable, work: Callable[[], T], /) -> T:
        """Return what `work` returned for this key before, or else what it returns now."""


class Files(Struct, frozen=True):
    """The files that a sink reads."""

    folder: Path
    """The folder of the configuration file that the sink stands in; its relative paths start here."""
    texts: Mapping[str, str]
    """The text of each file, by its key; "" if it cannot be read. A key whose path cannot be meant has no entry."""


class Resolved(Struct, frozen=True):
    """The secrets that a sink names, and what else can only be judged where the gateway runs."""

    files: Files
    secrets: Mapping[SecretRef, Secret]
    """The secrets that could be read."""
    now: float
    """Unix seconds."""
    once: Once
    """Remembers work that is too slow to be repeated in every reload, such as parsing a certificate."""

    def reveal(self, ref: SecretRef | None) -> str | None:
        """Return the text of a secret; None if the sink names none, or if it could not be read."""
        return self.secrets[ref].reveal() if ref is not None and ref in self.secrets else None


def check_url(key: str, text: str, say: Say) -> None:
    try:
        parse_url(text)
    except UrlError as error:
        say(key, error.wrong, error.hint)


def check_networks(key: str, networks: Sequence[str] | None, say: Say) -> None:
    for number, text in enumerate(networks or ()):
        try:
            parse_network(text)
        except ValueError:
            say((key, number), f'"{text}" is not a network', 'write "10.0.0.0/8", with zeros behind the prefix')


def check_reachable(key: str, host: str, networks: Sequence[str] | None, say: Say) -> None:
    """Warn if a host is an address that the sink may not dial: every delivery would end as `blocked`.

    Args:
        networks: the value of `allow_networks`.
    """
    with suppress(ValueError):  # a name, or a network that was reported already
        ipaddress.ip_address(host)
        if not AddressGuard.of(networks).allows(host):
            wrong = "names an address that this sink may not dial: nothing can be delivered"
            hint = "allow_networks narrows what may be dialled; metadata, link-local and unspecified addresses are never dialled"
            say(key, wrong, hint, level="warning")


def check_reachable_url(key: str, url: str, networks: Sequence[str] | None, say: Say) -> None:
    """Warn if the host in a URL is an address that the sink may not dial."""
    with suppress(UrlError):
        check_reachable(key, parse_url(url).host, networks, say)


def check_proxy(proxy: str | SecretRef | None, networks: Sequence[str] | None, say: Say) -> None:
    """Check the URL of a proxy that is written into the file, where it must hold no login.

    Args:
        networks: the value of `allow_networks`.
    """
    if isinstance(proxy, str):
        try:
            found = parse_proxy(proxy)
        except UrlError as error:
            say("proxy", error.wrong, error.hint)
            return
        if found.password is not None:
            say("proxy", "has a login in it", 'make the whole URL a secret, such as proxy = { env = "PROXY_URL" }')
        check_reachable("proxy", found.host, networks, say)


def check_secret_proxy(proxy: str | SecretRef | None, networks: Sequence[str] | None, say: Say, resolved: Resolved) -> None:
    """Check the URL of a proxy that is a secret."""
    if isinstance(proxy, SecretRef) and (text := resolved.reveal(proxy)) is not None:
        try:
            check_reachable("proxy", parse_proxy(text).host, networks, say)
        except UrlError as error:
            say("proxy", f"the secret of {proxy} {error.wrong}", error.hint)


def check_username(keys: Keys, text: str, say: Say) -> None:
    if not text:
        say(keys, "is empty")
    elif not text.isprintable():
        say(keys, "has a control character or an invisible character in it", "remove it")
    elif text != text.strip():
        say(keys, "begins or ends with a blank", "remove it")
    elif "${" in text or "{{" in text:
        say(keys, "has a placeholder in it, and nothing is filled in here", "write the name itself")


def check_signing_secret(keys: Keys, ref: SecretRef, secrets: Mapping[SecretRef, Secret], say: Say) -> None:
    if ref in secrets:
        try:
            Key(secrets[ref])
        except ValueError as error:
            say(keys, f"the secret of {ref}: {error}")


def token_trouble(token: str) -> str | None:
    """Say what is wrong with a token in quotes, which a shell or a file of variables would have removed."""
    quoted = len(token) > 1 and token[0] == token[-1] and token[0] in "\"'`"
    return "can't be a token: it has quotes around it" if quoted else None


def is_header_value(text: str) -> bool:
    """Return whether a text can be sent as the value of an HTTP header."""
    return text.isascii() and text.isprintable()


def is_token(text: str) -> bool:
    """Return whether a text has only visible ASCII characters."""
    return re.fullmatch(r"[!-~]+", text) is not None


def check_validity(keys: Keys, certificate: Secret, say: Say, now: float, *, who: str) -> None:
    """Warn if the other side refuses a certificate, or will soon. Raises ValueError if it is damaged.

    Args:
        now: Unix seconds.
        who: the other side, such as "servers".
    """
    if (trouble := validity(certificate).trouble(now, who)) is not None:
        say(keys, trouble, "renew it, and reload", level="warning")
    if (trouble := order_trouble(certificate)) is not None:
        hint = "first the certificate itself, then the one that issued it, and so on; the root can be left out"
        say(keys, f"{trouble}, and some {who} refuse that", hint, level="warning")
