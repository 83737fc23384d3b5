"""Networks, and the address of the client that sent a request, even behind proxies. Opens no socket."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""The name that stands for the address of a client on a unix socket."""
_MOST_HOPS = 32
"""The entries of X-Forwarded-For that are read. Strangers can write this header, so its cost must be bounded."""
_HIGHEST_PORT = 65535
_LONGEST = 64
"""Characters of an address with brackets, port and zone. It bounds the cache as well."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4-mapped addresses (RFC 4291, section 2.5.5.2). A socket for both families shows IPv4 addresses in this form."""
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})")
"""`[address]` and `[address]:port` of IPv6 (RFC 3986, section 3.2.2), and `address:port` of IPv4. Some proxies add the port."""
_WITH_ZONE = re.compile(r"([0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*)%[0-9A-Za-z._~-]+")
"""An IPv6 address with its zone (RFC 4007, section 11), the form in which the kernel writes a link-local peer."""
_UNKNOWN = ""


class Networks:
    """A set of networks, which may include `UNIX`. Answers are cached, so asking again for the same address is cheap."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Raises ValueError if a text is neither a network nor `UNIX`."""
        texts = list(texts)
        self._unix = UNIX in texts
        self._networks = tuple(parse_network(text) for text in texts if text != UNIX)
        self.hold = lru_cache(maxsize=4096)(self._hold)
        """Return True if the text is an address in one of the networks.

        The cache keeps the texts, so call it for addresses only, never for text that a stranger chose.
        """

    def _hold(self, address: str) -> bool:
        if address == UNIX:
            return self._unix
        found = plain(address)
        return found is not None and any(ipaddress.ip_address(found) in network for network in self._networks)


def parse_network(text: str, *, strict: bool = False) -> Network:
    """Return the network that a text names; a single address is a network of one.

    Raises ValueError if the text is neither, or has the zone of an interface.

    Args:
        strict: Refuse host bits after the prefix. Otherwise they are set to zero.
    """
    if "%" in text:
        raise ValueError("a network has no zone")
    network = ipaddress.ip_network(text, strict=strict)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inner, network.prefixlen - _MAPPED.prefixlen))
    return network


def plain(text: str) -> str | None:
    """Return an address in its shortest form, or None if the text is not an address.

    Brackets, port and zone are removed, and an IPv4-mapped address becomes IPv4.
    """
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
    """Return the address of the client that sent a request, or "" if it is unknown. No list of networks contains "".

    Each proxy appends the address that it received the request from. The list is therefore read from its end, for as long
    as the writer of an entry is trusted. An entry that is not an address (`unknown`, `_hidden`, an empty one) makes the client
    unknown, because it stands for a client that the proxy could not name, never for the proxy itself. The client is also
    unknown if more addresses are trusted than are read. Without the header, the peer is the client.

    Args:
        peer: The address that is connected, or UNIX.
        forwarded: The lines of X-Forwarded-For, in order. Several lines are one list (RFC 9110, section 5.3).
    """
    address = plain(peer) or peer
    lines = list(forwarded)
    if not lines or not trusted.hold(peer):
        return address
    entries = ",".join(lines).rsplit(",", _MOST_HOPS)
    for entry in reversed(entries[-_MOST_HOPS:]):
        address = plain(entry) or _UNKNOWN
        if not trusted.hold(address):
            return address
    return address if len(entries) <= _MOST_HOPS else _UNKNOWN


def network_of(address: str) -> str | None:
    """Return the network that counts as one peer, or None if the text is not an address.

    An IPv4 address is a peer by itself. An IPv6 host owns a whole /64 (RFC 7421) and may use a new address for each connection.
    """
    if (text := plain(address)) is None:
        return None
    ip = ipaddress.ip_address(text)
    if ip.version == 4:
        return text
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
