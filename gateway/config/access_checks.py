"""Checks on how webhooks arrive: addresses, TLS, and the networks that may send. They add findings and raise nothing."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.config import admin_checks
from gateway.config.addresses import Address, Inherited, Tcp, Unix, is_local, parse_address
from gateway.config.location import Finding, Findings, Place, say_at, warning
from gateway.config.settings import Config
from gateway.core.networks import UNIX, Network, parse_network
from gateway.host.certificates import PairError, load_pair
from gateway.sinks.checking import check_validity

_LARGEST_BODY = 64 * 1024 * 1024
_NO_NETWORK = 'write "203.0.113.0/24", "2001:db8::/32" or a single address'


def check(config: Config, findings: Findings) -> None:
    """Run every check that needs no secrets."""
    addresses = _check_addresses(config, findings)
    if not 0 < config.server.max_body <= _LARGEST_BODY:
        findings.append(Finding(config.place("server", "max_body"), "must be between 1B and 64MiB"))
    if config.server.tls is not None and addresses and all(isinstance(address, Unix) for address in addresses):
        findings.append(
            warning(config.place("server", "tls"), "has no effect: unix sockets never use TLS", "listen on host:port")
        )
    trusted = config.place("server", "trusted_proxies")
    _check_networks(config.server.trusted_proxies, trusted, findings, unix=True)
    _check_networks(config.admin.trusted_proxies, config.place("admin", "trusted_proxies"), findings, unix=True)
    for number, text in enumerate(config.server.trusted_proxies):
        if text != UNIX and _is_everybody(text):
            wrong = "trusts every address, so that senders can pretend to have any address"
            findings.append(warning(trusted / number, wrong, "name the addresses of your proxies"))
    for name, source in config.sources.items():
        if source.allow_from is None:
            continue
        where = config.place("sources", name, "allow_from")
        if not source.allow_from:
            findings.append(Finding(where, "is an empty list, so nobody may send", "remove it to let every address send"))
        _check_networks(source.allow_from, where, findings)
        if addresses and _reach_nobody(addresses, source.allow_from, config.server.trusted_proxies):
            wrong = "refuses every webhook: only this host can reach the gateway, and no proxy on it is trusted"
            findings.append(warning(where, wrong, 'add the proxy to [server] trusted_proxies: "127.0.0.1", "::1" or "unix"'))


def check_certificate(config: Config, findings: Findings, now: float) -> None:
    """Check the certificate of the webhook listeners. If the secrets were not loaded, there is no certificate to check."""
    if config.server.tls is None:
        return
    where = config.place("server", "tls")
    certificate, key = (config.secrets.get(ref) for ref in config.server.tls.pair)
    if certificate is None or key is None:
        return
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
        check_validity("certificate", certificate, say_at(where, findings), now, who="clients")
    except PairError as error:
        findings.append(Finding(where / error.part, error.reason))
    except ValueError as error:
        findings.append(Finding(where / "certificate", str(error)))


def sockets(config: Config) -> Iterator[tuple[Path, Place]]:
    """Yield the paths of the unix sockets that the gateway creates."""
    for table, texts in (("server", config.server.listen), ("admin", config.admin.listen)):
        for number, text in enumerate(texts):
            with suppress(ValueError):
                if isinstance(address := parse_address(text, config.base), Unix):
                    yield address.path, config.place(table, "listen", number)


def _check_addresses(config: Config, findings: Findings) -> list[Address]:
    """Check the addresses of both listeners; return those for webhooks."""
    seen: list[Address] = []
    good: dict[str, list[Address]] = {"server": [], "admin": []}
    for table, texts in (("server", config.server.listen), ("admin", config.admin.listen)):
        where = config.place(table, "listen")
        if not texts:
            findings.append(Finding(where, "is an empty list", 'write an address such as "127.0.0.1:8080"'))
        for number, text in enumerate(texts):
            try:
                address = parse_address(text, config.base)
            except ValueError as error:
                findings.append(Finding(where / number, str(error)))
                continue
            if (other := next((one for one in seen if _collide(one, address)), None)) is not None:
                said = f"{text} is used twice" if str(other) == str(address) else f"{text} is already taken by {other}"
                findings.append(Finding(where / number, said))
            seen.append(address)
            good[table].append(address)
    admin_checks.check(config, good["admin"], findings)
    return good["server"]


def _collide(one: Address, other: Address) -> bool:
    """Return True if two listeners cannot have these addresses: equal ones, or the same port on one and on all addresses."""
    if not isinstance(one, Tcp) or not isinstance(other, Tcp):
        return str(one) == str(other)
    if one.port != other.port or one.port == 0:
        return False
    every = {"0.0.0.0", "::"}
    families = [":" in address.host for address in (one, other)]
    return one.host == other.host or (families[0] is families[1] and bool({one.host, other.host} & every))


def _check_networks(texts: Sequence[str], where: Place, findings: Findings, *, unix: bool = False) -> None:
    for number, text in enumerate(texts):
        if unix and text == UNIX:
            continue
        try:
            network = parse_network(text)
        except ValueError:
            hint = f'{_NO_NETWORK}; or "unix"' if unix else _NO_NETWORK
            findings.append(Finding(where / number, f'"{text}" is not a network', hint))
            continue
        if not _says_itself(text, network):
            findings.append(warning(where / number, f'"{text}" is read as {network}', f'write "{network}"'))


def _says_itself(text: str, network: Network) -> bool:
    """Return True if the text plainly names the network: no host bits after the prefix, and the same address family."""
    try:
        return "/" not in text or ipaddress.ip_network(text) == network
    except ValueError:
        return False


def _is_everybody(text: str) -> bool:
    try:
        return parse_network(text).prefixlen == 0
    except ValueError:
        return False


def _reach_nobody(addresses: Sequence[Address], allowed: Sequence[str], trusted: Sequence[str]) -> bool:
    """Return True if only clients on this host can connect, and they are neither allowed nor trusted.

    The address of a socket from systemd is not known, so the answer is False if there is one.
    """
    if any(isinstance(address, Inherited) or not is_local(address) for address in addresses):
        return False
    if UNIX in trusted and any(isinstance(address, Unix) for address in addresses):
        return False
    loopback = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    try:
        networks = [parse_network(text) for text in (*allowed, *trusted) if text != UNIX]
    except ValueError:
        return False
    on_tcp = any(isinstance(address, Tcp) for address in addresses)
    return not (on_tcp and any(network.overlaps(own) for network in networks for own in loopback))
