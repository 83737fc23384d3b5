"""Opens the sockets of a server and stops them: by address, by path, or as systemd and the process before handed them on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from gateway.config.addresses import Address, Inherited, Tcp, Unix
from gateway.core.errors import ListenError
from gateway.host.environment import Environment
from gateway.host.systemd import listening_sockets
from gateway.web.server.accepting import Site
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.tls import Tls

_BACKLOG = 1024
_ADVICE = {
    errno.EADDRINUSE: "; another process has it: stop that process, or name another address in listen",
    errno.EADDRNOTAVAIL: "; this host has no such address: name another one in listen",
}
"""Advice that follows the text of an error."""


async def listen(runner: web.BaseRunner, address: Address, environment: Environment, tls: Tls | None = None) -> str:
    """Start listening, and return the address with the port that was chosen. Raises ListenError, which names the address.

    Unix sockets stay plain, those of systemd too: their clients are on this host.
    """
    try:
        match address:
            case Tcp(host=host, port=port):
                sockets = bind(host, port)
                address = Tcp(host, sockets[0].getsockname()[1])
            case Unix(path=path):
                sockets = [bind_unix(path)]
            case Inherited(name=name):
                sockets = listening_sockets(name, environment)
        for one in sockets:
            await _site(runner, [one], None if one.family == socket.AF_UNIX else tls).start()
        if isinstance(address, Unix):
            address.path.chmod(0o660)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        raise ListenError(f"can't listen on {address}: {error.strerror or error}{advice}") from error
    return str(address)


def go_on_with(runner: web.BaseRunner, kept: Sequence[socket.socket], tls: Tls | None) -> None:
    """Serve connections that the process before has left idle: plain ones, since TLS cannot change its process."""
    site = _site(runner, [], None)
    for one in kept:
        try:
            address = one.getpeername()
        except OSError:  # it has ended meanwhile
            one.close()
            continue
        if tls is not None and one.family != socket.AF_UNIX:
            one.close()  # it was opened before there was a certificate
        else:
            site.take(one, address)


async def stop_listening(runner: web.BaseRunner) -> None:
    """Take no connection any more; those that were taken stay. A socket of systemd goes on collecting them for the next start."""
    for site in list(runner.sites):
        await site.stop()


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address of a host, as `loop.create_server` does. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                made = socket.socket(family, kind, protocol)
            except OSError:
                continue  # "localhost" where the kernel knows no IPv6
            sockets.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    except OSError:
        for made in sockets:
            made.close()
        raise
    return sockets


def bind_unix(path: Path) -> socket.socket:
    """Bind a socket at a path, in place of the one that an earlier process left there. Raises OSError."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    return made


def _site(runner: web.BaseRunner, sockets: list[socket.socket], tls: Tls | None) -> Site:
    assert isinstance(runner.server, BoundedServer)
    return Site(runner, runner.server.seating, sockets, tls, _BACKLOG)
