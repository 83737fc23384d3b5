"""The networks that an address lies in, and the address that a request came from, behind proxies too. Knows no socket."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""The name in place of an address for a client that connects through a unix socket."""
_MOST_HOPS = 32
"""Entries of X-Forwarded-For that are looked at: what a stranger can write there must not cost more."""
_HIGHEST_PORT = 65535
_LONGEST = 64
"""Characters of an address with all that may stand around it; so a cache of them is bounded, too."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4-mapped addresses (RFC 4291, section 2.5.5.2): how a socket for both families shows those of IPv4."""
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})")
"""`[address]` and `[address]:port` of IPv6 (RFC 3986, section 3.2.2), `address:port` of IPv4: some proxies add it."""
_WITH_ZONE = re.compile(r"([0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*)%[0-9A-Za-z._~-]+")
"""An IPv6 address with its zone (RFC 4007, section 11), as the kernel writes a link-local peer."""
_NOBODY = ""


class Networks:
    """A set of networks, and of `UNIX`. Asking for the same address again costs next to nothing."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Raises ValueError where one is neither."""
        texts = list(texts)
        self._unix = UNIX in texts
        self._networks = tuple(parse_network(text) for text in texts if text != UNIX)
        self.hold = lru_cache(maxsize=4096)(self._hold)
        """Whether an address, as text, is among them; what is no address is not. Not for texts that a stranger chose."""

    def _hold(self, address: str) -> bool:
        if address == UNIX:
            return self._unix
        found = plain(address)
        return found is not None and any(ipaddress.ip_address(found) in network for network in self._networks)


def parse_network(text: str, *, strict: bool = False) -> Network:
    """A network, or a single address as one. Raises ValueError if the text is neither, or has the zone of an interface.

    Args:
        strict: refuse bits behind the prefix; they are cut otherwise.
    """
    if "%" in text:
        raise ValueError("a network has no zone")
    network = ipaddress.ip_network(text, strict=strict)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inner, network.prefixlen - _MAPPED.prefixlen))
    return network


def plain(text: str) -> str | None:
    """An address in its shortest form, without brackets, port and zone, IPv4 where it is mapped; None where it is none."""
    return _plain(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _plain(text: str) -> str | None:
    text = text.strip(" \t")  # OWS of RFC 9110, section 5.6.3; no other space may stand in a list
    bracketed = False
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        bracketed = match[1] is not None
        if int(match[2] or match[4] or 0) > _HIGHEST_PORT:
            return None
        text = match[1] or match[3]
    if (match := _WITH_ZONE.fullmatch(text)) is not None:
        text = match[1]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if bracketed and ip.version == 4:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def client(peer: str, forwarded: Iterable[str], trusted: Networks) -> str:
    """Return the address of whoever sent a request; "" is nobody, whom no list of networks holds.

    A proxy appends the address that it got the request from, so the list is read from its end, as long as the one who wrote
    an entry is trusted. An entry that is no address (`unknown`, `_hidden`, an empty one) makes the client nobody: behind it
    stands somebody whom the proxy could not name, and never the proxy itself. The same holds for a list of trusted addresses
    that is longer than the walk. Without the header the peer is the client.

    Args:
        peer: the address that is connected, or UNIX.
        forwarded: the lines of X-Forwarded-For, in their order; several are one list (RFC 9110, section 5.3).
    """
    address = plain(peer) or peer
    lines = list(forwarded)
    if not lines or not trusted.hold(peer):
        return address
    entries = ",".join(lines).rsplit(",", _MOST_HOPS)
    for entry in reversed(entries[-_MOST_HOPS:]):
        address = plain(entry) or _NOBODY
        if not trusted.hold(address):
            return address
    return address if len(entries) <= _MOST_HOPS else _NOBODY


def network_of(address: str) -> str | None:
    """Return the network that counts as one peer: the address itself of IPv4, the /64 of IPv6; None where it is no address.

    One host has a whole /64 of IPv6 (RFC 7421), and may use a new address for each connection.
    """
    if (text := plain(address)) is None:
        return None
    ip = ipaddress.ip_address(text)
    if ip.version == 4:
        return text
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
