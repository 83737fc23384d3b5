"""The other end of a request to the admin listener: its address, its uid on a unix socket, and what a proxy says about it."""

from __future__ import annotations

import os
import socket
import struct

from aiohttp import web

from gateway.core.networks import UNIX, Networks, client, network_of
from gateway.web.door.door_settings import DoorSettings

_OF_PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers that proxies add, and commands on this host do not."""


def peer_of(request: web.BaseRequest) -> str:
    """Return the address of the other end, or UNIX; "" if the connection has ended meanwhile."""
    connection = request.transport
    name = None if connection is None else connection.get_extra_info("peername")
    if isinstance(name, tuple):
        return str(name[0])
    return UNIX if _unix_socket(request) is not None else ""


def client_of(request: web.BaseRequest, proxies: Networks) -> str:
    """Return the client that counts as one, as far as trusted proxies tell it: an IPv4 address, a /64 of IPv6, UNIX, or ""."""
    found = client(peer_of(request), request.headers.getall("X-Forwarded-For", ()), proxies)
    return found if found == UNIX else network_of(found) or ""


def scheme_of(request: web.BaseRequest, settings: DoorSettings) -> str:
    """Return the scheme by which the browser asks: `http`, or `https` if a trusted proxy or the connection itself says so."""
    peer = peer_of(request)
    told = request.headers.getall("X-Forwarded-Proto", ()) if settings.proxies.hold(peer) or settings.vouches(peer) else ()
    return "https" if list(told) == ["https"] else request.scheme


def is_passed_on(request: web.BaseRequest) -> bool:
    """Return True if a request shows that a proxy has passed it on."""
    return any(name in request.headers for name in _OF_PROXIES)


def is_our_own(request: web.BaseRequest) -> bool:
    """Return True if the client of a unix socket is root or our own user (SO_PEERCRED, unix(7)).

    They can read the tokens, and all that these protect, anyway. So a reload by systemd, which has no credentials, needs no
    token.
    """
    if (connection := _unix_socket(request)) is None:
        return False
    _, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
    return uid in (0, os.geteuid())


def _unix_socket(request: web.BaseRequest) -> socket.socket | None:
    connection: socket.socket | None = None if request.transport is None else request.transport.get_extra_info("socket")
    return connection if connection is not None and connection.family == socket.AF_UNIX else None
