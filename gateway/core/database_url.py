"""The grammar of a PostgreSQL URL: one parser for `check`, for the errors of the store, and for what people are shown.

Pure: it resolves no name and opens no socket. No error text quotes any part of a URL, because a URL may hold a password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from gateway.core.urls import UrlError

FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The values of `sslmode` (PostgreSQL, "SSL Support", section "Protection Provided in Different Modes")."""
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_URL = re.compile(r"postgres(?:ql)?://([^/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._%-]*)(?::([0-9]*))?")
_PORT = 5432
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")


class DatabaseUrl(Struct, frozen=True, kw_only=True):
    """The parts of a PostgreSQL URL that may be shown. Its text form has neither the password nor the options."""

    hosts: tuple[tuple[str, int], ...]
    """Each host with its port: a name, an address, or the folder of a unix socket, which begins with a slash. Empty: the client's
    default, a unix socket of this host."""
    database: str
    user: str | None
    sslmode: str | None
    """The option of that name; None: the client tries TLS first, and goes on without it."""

    def __str__(self) -> str:
        hosts = ",".join(_shown(host, port) for host, port in self.hosts)
        return f"postgresql://{f'{self.user}@' if self.user else ''}{hosts}/{self.database}"

    @property
    def may_be_read_on_the_way(self) -> bool:
        """True if a connection to another machine may be made without TLS."""
        return self.sslmode not in _ENCRYPTED and not all(_is_local(host) for host, _ in self.hosts)


def parse_database_url(text: str) -> DatabaseUrl:
    """Split a URL into its parts. Raises UrlError, which quotes nothing of it."""
    if not text.startswith(("postgresql://", "postgres://")):
        raise UrlError("is not a URL of PostgreSQL", f"write {FORM}")
    if re.search(r"[^!-~]", text):
        raise UrlError("has a space or a character beyond ASCII in it", "write it percent-encoded")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise UrlError("has a # in it", "in a password, write %23")
    login, at, places = parts[1].rpartition("@")
    if "@" in login:
        raise UrlError("has more than one @ before the database", "in a user name or a password, write %40")
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise UrlError("has a % without two hexadecimal digits after it", "in a password, write %25")
    try:
        options = dict(parse_qsl(parts[3] or "", keep_blank_values=True, strict_parsing=bool(parts[3])))
    except ValueError:
        raise UrlError("has options that are not NAME=VALUE", "write them as in ?sslmode=verify-full&connect_timeout=5") from None
    sslmode = options.get("sslmode")
    if sslmode is not None and sslmode not in SSL_MODES:
        raise UrlError("has an sslmode that PostgreSQL does not know", f"write one of {', '.join(SSL_MODES)}")
    database = unquote(parts[2] or "") or options.get("dbname") or options.get("database") or ""
    if not database:
        raise UrlError("names no database", f"write {FORM}")
    hosts = tuple(_hosts(places or options.get("host", ""), options.get("port")))
    user = unquote(login.partition(":")[0]) if at else options.get("user")
    return DatabaseUrl(hosts=hosts, database=database, user=user or None, sslmode=sslmode)


def _hosts(text: str, port: str | None) -> Iterator[tuple[str, int]]:
    for place in text.split(",") if text else ():
        if place.startswith("/"):
            host, written = place, None
        else:
            found = _HOST.fullmatch(place)
            if found is None or not found[1]:
                # What follows a stray / or : of a password ends up here, so nothing of it is quoted.
                raise UrlError("has a host or a port that cannot be read", "in a password, write / as %2F, : as %3A and ? as %3F")
            host, written = unquote(found[1]).strip("[]"), found[2]
        number = written or port or str(_PORT)
        if not number.isdecimal() or not 1 <= int(number) <= 65535:
            raise UrlError("has a port that is not between 1 and 65535", f"write {FORM}")
        yield host, int(number)


def _shown(host: str, port: int) -> str:
    if host.startswith("/"):
        return host
    return f"{f'[{host}]' if ':' in host else host}{'' if port == _PORT else f':{port}'}"


def _is_local(host: str) -> bool:
    if host.startswith("/") or host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
