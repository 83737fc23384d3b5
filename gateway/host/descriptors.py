"""How many descriptors this process may have open: each connection is one. Many shells and containers allow 1,024."""

from __future__ import annotations

import resource
from contextlib import suppress

NEEDED = 8192
"""Two listeners with 512 connections and 1,024 that wait for a place each, the pools of the sinks, and files."""


def raise_limit(needed: int = NEEDED) -> int:
    """Raise the soft limit of RLIMIT_NOFILE to `needed`, as far as the hard limit allows; what it is then (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return needed if soft == resource.RLIM_INFINITY else soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
