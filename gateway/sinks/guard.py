"""Which addresses a sink may dial: checked where the socket is made, on literals and on every resolved address alike.

A URL is checked too late or too early anywhere else: a name can resolve to another address the moment after. The list of
`ipaddress.is_global` is not enough: it calls some metadata addresses global, and every internal system private.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from gateway.threads import detached

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_AddressInfo = tuple[Any, ...]
"""family, type, protocol, canonical name, socket address: an element of what `getaddrinfo` gives."""

_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",  # nearly every cloud; link-local too
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052: its last 32 bits are an IPv4 address."""


class BlockedAddress(OSError):
    """An address that this sink may not dial. Its text is the same for every address, so that several make one error."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the address is one that this sink may not dial")


class Guard:
    """Decides for one sink; without `allow_networks`, all but link-local, metadata, multicast and unspecified addresses."""

    def __init__(self, allow_networks: Sequence[Network] | None = None) -> None:
        self._allowed = tuple(allow_networks) if allow_networks is not None else None

    def allows(self, address: str) -> bool:
        """Whether an address may be dialled; a list narrows the default, it never widens it."""
        embedded = _embedded(ipaddress.ip_address(address.split("%")[0]))
        if any(ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA for ip in embedded):
            return False
        ip = embedded[-1]
        return self._allowed is None or any(ip in network for network in self._allowed)

    def open_socket(self, info: _AddressInfo) -> socket.socket:
        """A socket for an address that may be dialled (aiohttp's `socket_factory`). Raises BlockedAddress."""
        family, kind, protocol, _, address = info
        if not self.allows(address[0]):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of a host that answers. Raises OSError: gaierror, BlockedAddress or the last one's."""
        loop = asyncio.get_running_loop()
        found = await lookup(host, port)
        failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
        for info in found:
            try:
                dialled = self.open_socket(info)
            except OSError as error:
                failure = error
                continue
            try:
                dialled.setblocking(False)
                await loop.sock_connect(dialled, info[4])
                return dialled
            except OSError as error:
                dialled.close()
                failure = error
            except BaseException:
                dialled.close()
                raise
        raise failure


async def lookup(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[_AddressInfo]:
    """What DNS says of a host, asked in a thread of its own. Raises socket.gaierror or UnicodeError."""
    return await detached(lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM), f"dns:{host}")


def parse_network(text: str) -> Network:
    """Raises ValueError where a text is no network such as `10.0.0.0/8`."""
    return ipaddress.ip_network(text, strict=True)


def _embedded(ip: _Address) -> list[_Address]:
    """The address and the IPv4 address inside it (mapped, 6to4, NAT64), which is where the packets would go."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return [ip, inner]
    return [ip]
