"""Checks on who may use the admin listener: its users, its proxies and its host names. They add findings and raise nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.config.addresses import Address, Tcp, is_local
from gateway.config.location import Finding, Findings, Place, warning
from gateway.config.settings import AdminSettings, Config
from gateway.core.networks import UNIX, parse_network
from gateway.core.secrets import Secret, SecretRef
from gateway.core.users import ADMIN, unfit_name

_SHORTEST_TOKEN = 16
"""Characters: a token of that many random letters and digits cannot be guessed."""
_BETTER = "use letters and digits, such as the output of openssl rand -hex 32"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
"""A token of RFC 9110, section 5.6.2."""
_TAKEN_HEADERS = frozenset(("authorization", "connection", "content-length", "cookie", "host", "origin", "transfer-encoding"))
"""Headers with a meaning of their own."""
_HOST_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def check(config: Config, addresses: Sequence[Address], findings: Findings) -> None:
    """Check everything that needs no secret.

    Args:
        addresses: the addresses of the admin listener that can be read.
    """
    admin, where = config.admin, config.place("admin")
    remote = any(not is_local(address) for address in addresses)
    if remote and not admin.asks:
        wrong = "is required, because other machines can reach the admin listener"
        findings.append(Finding(where / "token", wrong, "set it, or listen on 127.0.0.1 or unix:"))
    if admin.users and any(isinstance(address, Tcp) and not is_local(address) for address in addresses):
        wrong = "tokens and sessions pass other machines unencrypted: the admin listener speaks no TLS"
        findings.append(warning(where / "listen", wrong, "listen on 127.0.0.1 or unix:, behind a proxy with TLS or a tunnel"))
    for name, user in admin.users.items():
        if (why := unfit_name(name)) is not None:
            findings.append(Finding(where / "users" / name, f"the name {why}", on="key"))
        if user.token is None and admin.user_header is None:
            wrong = "is missing, so nobody can be this user"
            findings.append(
                Finding(where / "users" / name / "token", wrong, "set it, or user_header, in which a proxy names users")
            )
    _check_header(admin, where, addresses, findings)
    for number, host in enumerate(admin.hosts):
        if _HOST_NAME.fullmatch(host.lower()) is None:
            wrong = f'"{host}" is not the name of a host'
            findings.append(Finding(where / "hosts" / number, wrong, 'write a name alone, such as "gateway.example.com"'))


def check_tokens(config: Config, findings: Findings) -> None:
    """Check the form of each token, and that no two users have the same, and show nothing of them."""
    where = config.place("admin")
    refs: list[tuple[str, Place, SecretRef | None]] = [(ADMIN, where / "token", config.admin.token)]
    refs += [(name, where / "users" / name / "token", user.token) for name, user in config.admin.users.items()]
    owners: dict[str, str] = {}
    for name, place, ref in refs:
        secret = config.secrets.get(ref) if ref is not None else None
        if secret is None:
            continue
        if (other := owners.setdefault(secret.reveal(), name)) != name:
            wrong = f"is the token of {other} as well, so nobody could tell the two apart"
            findings.append(Finding(place, wrong, "give each user a token of their own"))
        elif (weakness := _weakness(secret)) is not None:
            findings.append(warning(place, *weakness))


def _check_header(admin: AdminSettings, where: Place, addresses: Sequence[Address], findings: Findings) -> None:
    for number, text in enumerate(admin.trusted_proxies):
        if text != UNIX and _is_everybody(text) and admin.user_header is not None:
            wrong = "trusts every address, so that everybody could be every user"
            findings.append(Finding(where / "trusted_proxies" / number, wrong, "name the addresses of your proxies"))
    if admin.user_header is None:
        if admin.user_header_role != AdminSettings().user_header_role:
            findings.append(warning(where / "user_header_role", "has no effect without user_header", on_key=True))
        return
    if _HEADER_NAME.fullmatch(admin.user_header) is None or admin.user_header.lower() in _TAKEN_HEADERS:
        wrong = f'"{admin.user_header}" is not a header that can name a user'
        findings.append(Finding(where / "user_header", wrong, 'write one that your proxy sets, such as "x-forwarded-user"'))
    elif not admin.trusted_proxies and addresses and all(isinstance(address, Tcp) for address in addresses):
        wrong = "never counts: no proxy is trusted, and there is no unix socket"
        findings.append(warning(where / "user_header", wrong, 'add the proxy to [admin] trusted_proxies, such as "127.0.0.1"'))


def _is_everybody(text: str) -> bool:
    try:
        return parse_network(text).prefixlen == 0
    except ValueError:
        return False


def _weakness(secret: Secret) -> tuple[str, str] | None:
    """Return what is weak in a token, and what to do."""
    token = secret.reveal()
    if not (token.isascii() and token.isprintable()):
        return "has characters that cannot be sent in a header", _BETTER
    if len(token) < _SHORTEST_TOKEN:
        return f"has fewer than {_SHORTEST_TOKEN} characters, so that it can be guessed", _BETTER
    return None
