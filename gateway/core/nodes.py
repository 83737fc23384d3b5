"""The gateways that share a database: what one says about itself, and what the others see of it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class NodeFacts(Struct, frozen=True, kw_only=True):
    """The facts that a gateway states about itself when it starts."""

    name: str
    boot: str
    """A random text, another one at each start: it tells a process from an earlier one of the same name."""
    version: str
    config_hash: str
    """The digest of that part of the configuration in which all nodes have to agree, see `config.agreement`."""
    sinks: tuple[str, ...]
    """The sinks of its configuration."""


class NodeSeen(Struct, frozen=True, kw_only=True):
    """A node, as the database knows it."""

    name: str
    alive: bool
    """True if it renewed within the lease, and did not end since."""
    seen: datetime | None
    """When it renewed last, by the database's clock; None: it never ran."""
    version: str
    config_hash: str
    sinks: tuple[str, ...]
    lanes: tuple[str, ...]
    """The sinks that it delivers to."""
