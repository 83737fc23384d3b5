"""The addresses that a sink may dial. The check is where the socket is made, for literal and for resolved addresses.

Anywhere else would be too early: a name can resolve to another address a moment later. `ipaddress.is_global` is not enough: it
calls some metadata addresses global, and every internal system private.
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
"""Family, type, protocol, canonical name and socket address: an element of the list that `getaddrinfo` returns."""

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
"""The well-known prefix of RFC 6052. The last 32 bits of an address are an IPv4 address."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""The prefix for the translators of one network (RFC 8215), which chooses the position of the IPv4 address in it."""
_OLD_FORMS = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
"""IPv4-compatible (RFC 4291, section 2.5.5.1) and IPv4-translated addresses (RFC 2765), `::1` among them. In a network that still
knows these forms, the last 32 bits are an IPv4 address."""


class BlockedAddress(OSError):
    """An address that this sink may not dial. The text is the same for every address, so that several give one error."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the address is one that this sink may not dial")


class AddressGuard:
    """Decides for one sink. `allow_networks` narrows the default: all but link-local, metadata, multicast and unspecified."""

    def __init__(self, allow_networks: Sequence[Network] | None = None) -> None:
        self._allowed = tuple(allow_networks) if allow_networks is not None else None

    @classmethod
    def of(cls, allow_networks: Sequence[str] | None) -> AddressGuard:
        """Build the guard from `allow_networks` as written. Raises ValueError if a text is not a network."""
        return cls([parse_network(text) for text in allow_networks] if allow_networks is not None else None)

    def allows(self, address: str) -> bool:
        """Return whether an address may be dialled. A list narrows the default and never widens it."""
        ip = ipaddress.ip_address(address.split("%")[0])
        target = _target(ip)
        if any(one.is_multicast or one.is_unspecified or _is_metadata(one) for one in (ip, target)):
            return False
        if any(_is_metadata(one) for one in _guesses(ip)):
            return False
        return self._allowed is None or any(target in network for network in self._allowed)

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Make a socket for an address. Raises BlockedAddress if the address may not be dialled."""
        family, kind, protocol, _, address = info
        if not self.allows(address[0]):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)


def lookup(host: str, port: int) -> list[AddressInfo]:
    """Return the addresses of a host in the order of RFC 6724. Blocks. Raises socket.gaierror or UnicodeError."""
    return socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)


def words(error: OSError) -> str:
    """Describe an error of dialling in the words of the system, because asyncio's own text repeats the address."""
    return os.strerror(error.errno) if error.errno else "no connection"


def parse_network(text: str) -> Network:
    """Parse a network such as `10.0.0.0/8`. Raises ValueError if the text is not a network.

    A network of IPv4-mapped addresses becomes the IPv4 network inside, because mapped addresses are compared as IPv4.
    """
    return networks.parse_network(text, strict=True)


def _is_metadata(ip: _Address) -> bool:
    return ip.is_link_local or ip in _METADATA


def _target(ip: _Address) -> _Address:
    """Return the address that gets the packets: the IPv4 address inside (mapped, 6to4, NAT64), or else the address itself."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    if ip in _NAT64:
        return _low(int(ip))
    return ip.ipv4_mapped or ip.sixtofour or ip


def _guesses(ip: _Address) -> list[_Address]:
    """Return the IPv4 addresses that may stand inside, if only the network knows the form.

    Use them only to refuse: a wrong guess is usually an address that does not exist."""
    if isinstance(ip, ipaddress.IPv6Address) and ip in _LOCAL_NAT64:
        # RFC 6052, section 2.2: after a prefix of 48, 56 or 64 bits, the bits 64 to 71 are left out; after 96 they are not.
        without = int(ip) >> 64 << 56 | int(ip) & (1 << 56) - 1
        return [_low(int(ip)), *(_low(without >> 120 - 32 - prefix) for prefix in (48, 56, 64))]
    if any(ip in old for old in _OLD_FORMS):
        return [_low(int(ip))]
    return []


def _low(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(number & 0xFFFFFFFF)
