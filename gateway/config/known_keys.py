"""The names of all keys of a configuration, taken from the structs that the file is decoded into."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from msgspec import Struct, structs

from gateway.config.settings import (
    AdminSettings,
    AuditSettings,
    DefaultsSettings,
    NodeSettings,
    ReconcileSettings,
    RouteSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
    TestSettings,
    WatchSettings,
)
from gateway.core.events import IDENTITY
from gateway.core.secrets import SecretRef
from gateway.sinks import SINK_TYPES

DROP_IN = ("routes", "sinks", "tests", "watch")
"""The tables that an included file may have."""
TABLES = ("include", "server", "admin", "store", "node", "audit", "defaults", "reconcile", "sources", *DROP_IN)
"""The tables and keys that the top of the main file may have."""
_STRUCTS: tuple[type[Struct], ...] = (
    *(AdminSettings, AuditSettings, DefaultsSettings, RouteSettings, ServerSettings, SourceSettings, StoreSettings),
    TestSettings,
    WatchSettings,
    ReconcileSettings,
    NodeSettings,
)


def known_keys() -> frozenset[str]:
    """Return the names of all tables and keys, including those inside small tables such as `breaker`."""
    return _keys_of(tuple(kind.config for kind in SINK_TYPES.values()))


@cache
def _keys_of(sinks: tuple[type[Struct], ...]) -> frozenset[str]:
    named = {name for kind in (*_STRUCTS, *sinks) for name in _names(kind)}
    return frozenset(named | {"type", *TABLES, *IDENTITY})


def _names(kind: Any) -> Iterator[str]:
    """Yield the keys of a struct, and of every struct inside it."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        for field in structs.fields(kind):
            yield field.name
            yield from _names(field.type)
    else:
        for inner in get_args(kind):
            if inner is not SecretRef:
                yield from _names(inner)
