"""The name of this machine."""

from __future__ import annotations

import socket


def host_name() -> str:
    """Return the name of the host, as `hostname` prints it."""
    return socket.gethostname()
