"""The rules about how webhooks come in: addresses, TLS, and who may send. Adds findings, raises nothing."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.config.addresses import Address, Inherited, Tcp, Unix, is_local, parse_address
from gateway.config.location import Finding, Findings, Place, say_at, warning
from gateway.config.settings import Config
from gateway.core.networks import UNIX, Network, parse_network
from gateway.host.certificates import PairError, load_pair
from gateway.sinks.checking import check_validity

_LARGEST_BODY = 64 * 1024 * 1024
_NO_NETWORK = 'write "203.0.113.0/24", "2001:db8::/32" or a single address'


def check(config: Config, findings: Findings) -> None:
    """Everything that can be said without the secrets."""
    addresses = _check_addresses(config, findings)
    if not 0 < config.server.max_body <= _LARGEST_BODY:
        findings.append(Finding(config.place("server", "max_body"), "has to lie between 1B and 64MiB"))
    if config.server.tls is not None and addresses and all(isinstance(address, Unix) for address in addresses):
        findings.append(warning(config.place("server", "tls"), "has no use: unix sockets stay plain", "listen on host:port"))
    trusted = config.place("server", "trusted_proxies")
    _check_networks(config.server.trusted_proxies, trusted, findings, unix=True)
    for number, text in enumerate(config.server.trusted_proxies):
        if text != UNIX and _is_everybody(text):
            message = "trusts everybody: then senders choose the address that they are taken for"
            findings.append(warning(trusted / number, message, "name the addresses of your proxies"))
    for name, source in config.sources.items():
        if source.allow_from is None:
            continue
        where = config.place("sources", name, "allow_from")
        if not source.allow_from:
            findings.append(Finding(where, "names nobody", "leave it out to let everybody send"))
        _check_networks(source.allow_from, where, findings)
        if addresses and _reach_nobody(addresses, source.allow_from, config.server.trusted_proxies):
            message = "refuses every webhook: the gateway is reached from this host alone, and no proxy there is trusted"
            findings.append(warning(where, message, 'name it in [server] trusted_proxies: "127.0.0.1", "::1" or "unix"'))


def check_certificate(config: Config, findings: Findings, now: float) -> None:
    """Check the certificate of the listeners for webhooks. A machine without secrets has none, and skips it."""
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
    """The paths of the unix sockets that the gateway makes."""
    for table, texts in (("server", config.server.listen), ("admin", config.admin.listen)):
        for number, text in enumerate(texts):
            with suppress(ValueError):
                if isinstance(address := parse_address(text, config.base), Unix):
                    yield address.path, config.place(table, "listen", number)


def _check_addresses(config: Config, findings: Findings) -> list[Address]:
    """Check the addresses of both listeners; return those for webhooks."""
    seen: list[Address] = []
    good: list[Address] = []
    remote = False
    for table, texts in (("server", config.server.listen), ("admin", config.admin.listen)):
        where = config.place(table, "listen")
        if not texts:
            findings.append(Finding(where, "names no address"))
        for number, text in enumerate(texts):
            try:
                address = parse_address(text, config.base)
            except ValueError as error:
                findings.append(Finding(where / number, str(error)))
                continue
            if (other := next((one for one in seen if _collide(one, address)), None)) is not None:
                said = f"{text} is used twice" if str(other) == str(address) else f"{text} is taken by {other} already"
                findings.append(Finding(where / number, said))
            seen.append(address)
            good += [address] if table == "server" else []
            remote = remote or (table == "admin" and not is_local(address))
    if remote and config.admin.token is None:
        message = "is needed where others can reach the admin listener"
        findings.append(Finding(config.place("admin", "token"), message, "or listen on 127.0.0.1 or unix:"))
    return good


def _collide(one: Address, other: Address) -> bool:
    """Whether two listeners can't have both: the same, or one port at an address and at all addresses."""
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
            findings.append(warning(where / number, f'"{text}" is taken as {network}', f'write "{network}"'))


def _says_itself(text: str, network: Network) -> bool:
    """Whether it reads as what it is, though not in its shortest form: nothing behind its prefix, and of the same family."""
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
    """Whether who can connect is on this host, and neither allowed nor trusted; of a socket of systemd nobody knows."""
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
