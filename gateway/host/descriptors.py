"""The limit of open file descriptors. Each connection needs one, and many shells and containers allow only 1,024."""

from __future__ import annotations

import resource
from contextlib import suppress

NEEDED = 8192
"""Enough for two listeners, each with 512 connections and 1,024 that wait for a place, for the pools of the sinks, and for
files."""


def raise_limit(needed: int = NEEDED) -> int:
    """Raise the soft limit of RLIMIT_NOFILE to `needed`, or to the hard limit if that is lower; return it (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return needed if soft == resource.RLIM_INFINITY else soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
