"""The digest of that part of a configuration in which all nodes on one database have to agree.

Listeners, paths of files, the name of the node and the values of secrets are a node's own, and no part of it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.settings import Config


def agreement_hash(config: Config) -> str:
    """Return the SHA-256, in hex, of sources, sinks, routes, watches and retention, and of the texts that the sinks read.

    Comments, the order of keys, and the division into files do not count; the order of the routes does.
    """
    shared = {
        "defaults": config.defaults,
        "reconcile": config.reconcile,
        "retention": str(config.store.retention),
        "sources": config.sources,
        "sinks": {name: (type(sink).__name__, sink) for name, sink in config.sinks.items()},
        "sink_files": config.sink_files,
        "routes": [rule.settings for rule in config.rules],
        "watches": [rule.settings for rule in config.watch_rules],
    }
    return hashlib.sha256(msgspec.json.encode(_plain(shared), order="deterministic")).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value as JSON's own types; durations, sizes and rates are the numbers that they are."""
    if isinstance(value, Struct):
        return {key: _plain(getattr(value, key)) for key in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return float(value) if isinstance(value, (int, float)) else str(value)
