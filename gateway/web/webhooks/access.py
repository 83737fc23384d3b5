"""Decides who may send to which source, by the address of the sender: `allow_from` and `trusted_proxies`."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from gateway.core.networks import UNIX, Networks, client, network_of, plain

_FORWARDED = "X-Forwarded-For"


class Stranger(Struct, frozen=True):
    """A sender that is not allowed: one text for the sender, one for the operator."""

    told: str
    audited: str


class Access:
    """The rules of one configuration."""

    def __init__(self, trusted: Networks, allowed: Mapping[str, Networks]) -> None:
        """
        Args:
            trusted: the proxies whose X-Forwarded-For counts.
            allowed: the networks that may send, by source; a source that is missing is open to every address.
        """
        self._trusted = trusted
        self._allowed = allowed

    def address(self, request: web.BaseRequest) -> str | None:
        """Return the address that a request came from, as far as trusted proxies tell it; None if it is not known."""
        peer = _peer(request)
        lines = request.headers.getall(_FORWARDED, ())
        return plain(client(peer, lines, self._trusted) if lines else peer)

    def stranger(self, source: str, request: web.BaseRequest) -> Stranger | None:
        """Return the sender to refuse; None if the sender is allowed."""
        allowed = self._allowed.get(source)
        if allowed is None:
            return None
        peer = _peer(request)
        lines = request.headers.getall(_FORWARDED, ())
        address = client(peer, lines, self._trusted)
        if allowed.hold(address):
            return None
        seen = plain(address) or (f"a client of the {UNIX} socket" if address == UNIX else "an unknown address")
        if lines and not self._trusted.hold(peer):
            # Most likely a proxy that the configuration does not name; strangers must not learn its internal address.
            why = f"its {_FORWARDED} does not count, since it is not in [server] trusted_proxies"
            return Stranger("this address may not send here", f"{seen} is not in allow_from; {why}")
        if lines and plain(address) is None and address != UNIX:
            proxy = "a proxy on the unix socket" if peer == UNIX else f"the proxy {plain(peer)}"
            why = f"{proxy} sent an {_FORWARDED} that does not name the address of its client"
            return Stranger(f"{seen} may not send here", f"{seen} is not in allow_from: {why}; see what it sets")
        return Stranger(f"{seen} may not send here", f"{seen} is not in allow_from")

    def peer_of(self, address: str) -> str | None:
        """Return the peer that a connection counts for; None for a trusted proxy, which has many clients."""
        return None if self._trusted.hold(address) else network_of(address)

    def client_of(self, request: web.BaseRequest) -> str | None:
        """Return the peer that a trusted proxy sends a request for; None if there is no such proxy, or it does not say."""
        peer = _peer(request)
        if not self._trusted.hold(peer):
            return None
        return self.peer_of(client(peer, request.headers.getall(_FORWARDED, ()), self._trusted))


def _peer(request: web.BaseRequest) -> str:
    """Return the address of the other end, or UNIX; "" if the connection has ended and the address is no longer known."""
    # Not `request.remote`: it is also the name of a client's own unix socket, which may look like an address.
    name = request._transport_peername
    if isinstance(name, tuple):
        return str(name[0])
    transport = request.transport
    connected = transport.get_extra_info("socket") if transport is not None else None
    return UNIX if connected is not None and connected.family == socket.AF_UNIX else ""
