"""The URL of an HTTP proxy, which may hold a login. Pure, and no error text quotes any part of the URL."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from msgspec import Struct

from gateway.core.secrets import Secret
from gateway.core.urls import UrlError, parse_url, place_of

_USER_INFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+")
"""RFC 3986, section 3.2.1."""


class Proxy(Struct, frozen=True):
    """A proxy that is spoken to in plain HTTP. What goes to an `https` URL is encrypted up to the server behind it."""

    host: str
    """The host to resolve and dial, in lower-case ASCII; IPv6 without brackets."""
    port: int
    username: str = ""
    password: Secret | None = None
    """Sent with the user name; None sends no login."""

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization` (RFC 9110, section 11.7.2), which holds the password; None without a login."""
        if self.password is None:
            return None
        login = f"{self.username}:{self.password.reveal()}"  # RFC 7617, section 2.1: UTF-8
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    @property
    def place(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return place_of(self.host, self.port)

    @property
    def secrets(self) -> list[str]:
        """The texts that nobody may see."""
        if self.password is None or self.authorization is None:
            return []
        password = self.password.reveal()  # a token may stand in the place of the user name, without a password
        return [password or self.username, self.authorization.removeprefix("Basic ")]


def parse_proxy(text: str) -> Proxy:
    """Parse `http://host:port` or `http://user:password@host:port`; the default port is 80. Raises UrlError."""
    if text[:8].lower() == "https://":
        raise UrlError(
            "begins with https://, but a proxy is spoken to in plain HTTP",
            "write http://; what goes to an https URL is encrypted up to the server behind the proxy",
        )
    if text[:7].lower() != "http://":
        raise UrlError("is not the URL of an HTTP proxy", "it must begin with http://")
    rest = text[7:]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        raise UrlError("has a /, ? or # before its @", "write it in a password as %2F, %3F or %23")
    login, at, place = rest[: len(authority)].rpartition("@")
    url = parse_url(f"http://{place}{rest[len(authority) :]}")
    if url.target != "/":
        raise UrlError("has a path or a query, which a proxy does not use", "end it after the port")
    if not at:
        return Proxy(url.host, url.port)
    username, password = _parse_login(login)
    return Proxy(url.host, url.port, username, Secret(password))


def _parse_login(text: str) -> tuple[str, str]:
    """Return the user name and the password. Raises UrlError."""
    if _USER_INFO.fullmatch(text) is None:
        raise UrlError(
            "has an @, but no user name and password that a URL can hold before it",
            "write http://user:password@host:port, and other characters percent-encoded, such as %40 for an @",
        )
    username, _, password = text.partition(":")
    try:
        username, password = unquote(username, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise UrlError("has a user name or password that is not UTF-8", "percent-encode its bytes in UTF-8") from None
    if ":" in username or not (username + password).isprintable():
        raise UrlError("has a login that can't be sent: a colon in its user name, or a control character", "use another login")
    return username, password
