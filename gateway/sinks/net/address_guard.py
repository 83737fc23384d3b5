"""Which addresses a sink may dial: checked where the socket is made, on literals and on every resolved address alike.

A URL is checked too late or too early anywhere else: a name can resolve to another address the moment after. The list of
`ipaddress.is_global` is not enough: it calls some metadata addresses global, and every internal system private.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Any

from gateway.core import networks
from gateway.core.networks import Network

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressInfo = tuple[Any, ...]
"""family, type, protocol, canonical name, socket address: an element of what `getaddrinfo` gives."""

_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",  # nearly every cloud; link-local too
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, credentials of EKS pods
        "fd00:42::42",  # Scaleway
        "fd20:ce::254",  # Google Cloud
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052: its last 32 bits are an IPv4 address."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""RFC 8215: for the translators of one network. Where in it the IPv4 address stands is that network's own choice."""
_OLD_FORMS = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
"""IPv4-compatible (RFC 4291, section 2.5.5.1) and IPv4-translated (RFC 2765): the last 32 bits are an IPv4 address, where a
network still knows them; `::1` is among them."""


class BlockedAddress(OSError):
    """An address that this sink may not dial. Its text is the same for every address, so that several make one error."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the address is one that this sink may not dial")


class Guard:
    """Decides for one sink; without `allow_networks`, all but link-local, metadata, multicast and unspecified addresses."""

    def __init__(self, allow_networks: Sequence[Network] | None = None) -> None:
        self._allowed = tuple(allow_networks) if allow_networks is not None else None

    @classmethod
    def of(cls, allow_networks: Sequence[str] | None) -> Guard:
        """Build it from the key as written. Raises ValueError where a text is no network."""
        return cls([parse_network(text) for text in allow_networks] if allow_networks is not None else None)

    def allows(self, address: str) -> bool:
        """Whether an address may be dialled; a list narrows the default, it never widens it."""
        ip = ipaddress.ip_address(address.split("%")[0])
        target = _target(ip)
        if any(one.is_multicast or one.is_unspecified or _is_metadata(one) for one in (ip, target)):
            return False
        if any(_is_metadata(one) for one in _guesses(ip)):
            return False
        return self._allowed is None or any(target in network for network in self._allowed)

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """A socket for an address that may be dialled. Raises BlockedAddress."""
        family, kind, protocol, _, address = info
        if not self.allows(address[0]):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)


def lookup(host: str, port: int) -> list[AddressInfo]:
    """The addresses of a host, in the order that RFC 6724 prefers. Blocks. Raises socket.gaierror or UnicodeError."""
    return socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)


def words(error: OSError) -> str:
    """What an error of dialling means, in the words of the system: asyncio's own repeat the address."""
    return os.strerror(error.errno) if error.errno else "no connection"


def parse_network(text: str) -> Network:
    """Raises ValueError if a text is no network such as `10.0.0.0/8`.

    A network of IPv4-mapped addresses is the one of IPv4 inside, because that is what a mapped address is compared as.
    """
    return networks.parse_network(text, strict=True)


def _is_metadata(ip: _Address) -> bool:
    return ip.is_link_local or ip in _METADATA


def _target(ip: _Address) -> _Address:
    """Where the packets would go: the IPv4 address inside (mapped, 6to4, NAT64), else the address itself."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    if ip in _NAT64:
        return _low(int(ip))
    return ip.ipv4_mapped or ip.sixtofour or ip


def _guesses(ip: _Address) -> list[_Address]:
    """The IPv4 addresses that may stand inside, where nobody but the network knows. Good for refusing alone: a wrong guess is
    as a rule no address that anybody has."""
    if isinstance(ip, ipaddress.IPv6Address) and ip in _LOCAL_NAT64:
        # RFC 6052, section 2.2: behind a prefix of 48, 56 or 64 bits it makes room for the bits 64 to 71, behind 96 it does not.
        without = int(ip) >> 64 << 56 | int(ip) & (1 << 56) - 1
        return [_low(int(ip)), *(_low(without >> 120 - 32 - prefix) for prefix in (48, 56, 64))]
    if any(ip in old for old in _OLD_FORMS):
        return [_low(int(ip))]
    return []


def _low(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(number & 0xFFFFFFFF)
