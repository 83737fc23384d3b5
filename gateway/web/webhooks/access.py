"""Decides who may send to which source, by the address of the sender: `allow_from` and `trusted_proxies`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.core.networks import UNIX, Networks, client, network_of, plain
from gateway.web.webhooks.head import Head

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

    def address(self, head: Head) -> str | None:
        """Return the address that a request came from, as far as trusted proxies tell it; None if it is not known."""
        peer, lines = head.peer, head.lines(_FORWARDED)
        return plain(client(peer, lines, self._trusted) if lines else peer)

    def stranger(self, source: str, head: Head) -> Stranger | None:
        """Return the sender to refuse; None if the sender is allowed."""
        allowed = self._allowed.get(source)
        if allowed is None:
            return None
        peer, lines = head.peer, head.lines(_FORWARDED)
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

    def client_of(self, head: Head) -> str | None:
        """Return the peer that a trusted proxy sends a request for; None if there is no such proxy, or it does not say."""
        if not self._trusted.hold(head.peer):
            return None
        return self.peer_of(client(head.peer, head.lines(_FORWARDED), self._trusted))
