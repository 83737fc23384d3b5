"""Addresses to dial; a listener can drop every packet that comes to one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from gateway.sinks.net.address_guard import AddressInfo

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(address: str, port: int) -> AddressInfo:
    family = V6 if ":" in address else V4
    return (family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0) if family == V6 else (address, port))


@contextmanager
def dropping(address: str) -> Iterator[int]:
    """Yield a port whose listener takes no more connections, so that Linux drops every SYN (listen(2), tcp(7))."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, 0), backlog=0))
        place = listener.getsockname()
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            with suppress(BlockingIOError):
                filling.connect(place)
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.05)
        with pytest.raises(TimeoutError):
            probe.connect(place)
        yield place[1]
