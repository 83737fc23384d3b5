"""The event loops that the gateway runs on. uvloop has transports and sockets of its own classes, which lack some methods of
asyncio's and socket's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
ON_BOTH_LOOPS = frozenset(
    (
        "test_email_reuse.py",
        "test_http_answers.py",
        "test_http_requests.py",
        "test_http_tls.py",
        "test_proxy.py",
        "test_real_caddy.py",
        "test_real_nginx.py",
        "test_real_proxy.py",
    )
)
"""The modules whose asynchronous tests run once on each loop."""


def _uvloop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed here: it is in the extra `speed`")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def factories(module: str) -> Mapping[str, LoopFactory]:
    """The loops for the tests of a module, by name."""
    alone: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    return alone | {"uvloop": _uvloop} if module in ON_BOTH_LOOPS else alone


def send_end(writer: asyncio.StreamWriter) -> None:
    """Send FIN and nothing else, even under TLS."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
        same.shutdown(socket.SHUT_WR)
