"""Which networks an address lies in, and whose address it is that a request came from behind proxies. Knows no socket."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""In place of an address: whoever connects through a unix socket."""
_MOST_HOPS = 32
"""Entries of X-Forwarded-For that are looked at: what a stranger can write there must not cost more."""
_LONGEST = 64
"""Characters of an address with all that may stand around it; so a cache of them is bounded, too."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4-mapped addresses (RFC 4291, section 2.5.5.2): how a socket for both families shows those of IPv4."""
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


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


def parse_network(text: str) -> Network:
    """A network, or a single address as one. Bits behind its prefix are cut. Raises ValueError where it is none."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inner, network.prefixlen - _MAPPED.prefixlen))
    return network


def plain(text: str) -> str | None:
    """An address in its shortest form, without brackets, port and zone, IPv4 where it is mapped; None where it is none."""
    return _plain(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _plain(text: str) -> str | None:
    text = text.strip()
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        text = match[1] or match[2]
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def client(peer: str, forwarded: Iterable[str], trusted: Networks) -> str:
    """The address of who sent a request.

    A proxy writes down behind the others whom it got the request from, so the list is read from its end, and only for as long
    as who wrote an entry is trusted. What is no address ends it: then it is the last proxy that is known.

    Args:
        peer: who is connected: an address, or UNIX.
        forwarded: the lines of X-Forwarded-For, in their order; several are one list (RFC 9110, section 5.3).
    """
    address = plain(peer) or peer
    if not trusted.hold(peer):
        return address
    for entry in reversed(",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        found = plain(entry)
        if found is None:
            break
        address = found
        if not trusted.hold(found):
            break
    return address
