"""Who may send to which source, by the address that a request comes from: `allow_from` and `trusted_proxies`."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from gateway.core.networks import UNIX, Networks, client, network_of, plain

_FORWARDED = "X-Forwarded-For"


class Stranger(Struct, frozen=True):
    """Somebody who may not send: what they are told, and what the operator is."""

    told: str
    audited: str


class Access:
    def __init__(self, trusted: Networks, allowed: Mapping[str, Networks]) -> None:
        """
        Args:
            trusted: the proxies whose X-Forwarded-For counts.
            allowed: by source, who may send; one that is missing is open to everybody.
        """
        self._trusted = trusted
        self._allowed = allowed

    def address(self, request: web.BaseRequest) -> str | None:
        """The address that a request came from, as far as proxies that are trusted tell it; None where nobody can."""
        peer = _peer(request)
        lines = request.headers.getall(_FORWARDED, ())
        return plain(client(peer, lines, self._trusted) if lines else peer)

    def stranger(self, source: str, request: web.BaseRequest) -> Stranger | None:
        """Return who is refused; None if the sender is allowed."""
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
            # Most likely a proxy that nobody named, and its address inside the house is no stranger's business.
            why = f"its {_FORWARDED} does not count, since it is not in [server] trusted_proxies"
            return Stranger("this address may not send here", f"{seen} is not in allow_from; {why}")
        if lines and plain(address) is None and address != UNIX:
            proxy = "a proxy on the unix socket" if peer == UNIX else f"the proxy {plain(peer)}"
            why = f"{proxy} sent an {_FORWARDED} that does not name the address of its client"
            return Stranger(f"{seen} may not send here", f"{seen} is not in allow_from: {why}; see what it sets")
        return Stranger(f"{seen} may not send here", f"{seen} is not in allow_from")

    def peer_of(self, address: str) -> str | None:
        """Return the peer that a connection counts for; None where it is a trusted proxy's, which has many clients."""
        return None if self._trusted.hold(address) else network_of(address)

    def client_of(self, request: web.BaseRequest) -> str | None:
        """Return the peer that a trusted proxy sends a request for; None where none does, or it does not say."""
        peer = _peer(request)
        if not self._trusted.hold(peer):
            return None
        return self.peer_of(client(peer, request.headers.getall(_FORWARDED, ()), self._trusted))


def _peer(request: web.BaseRequest) -> str:
    """The address of who is connected, or UNIX; "" where the connection has ended, and nobody can tell any more."""
    # Not `request.remote`, which is the name of a client's own unix socket, too: that may look like an address.
    name = request._transport_peername
    if isinstance(name, tuple):
        return str(name[0])
    transport = request.transport
    connected = transport.get_extra_info("socket") if transport is not None else None
    return UNIX if connected is not None and connected.family == socket.AF_UNIX else ""
