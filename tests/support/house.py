"""The layers of `gateway/` as data, for the tests that hold the code and the documents to them."""

from __future__ import annotations

HOUSE: dict[str, set[str]] = {
    "core": set(),
    "host": {"core"},
    "observability": {"core", "host"},
    "store": {"core", "host"},
    "sinks": {"core", "host"},
    "config": {"core", "host", "sinks"},
    "ingest": {"core", "host", "observability", "store"},
    "delivery": {"core", "host", "observability", "store", "sinks", "config", "ingest"},
    "maintenance": {"core", "host", "observability", "store", "sinks", "config", "ingest", "delivery"},
    "control": {"core", "host", "observability", "store", "sinks", "config", "ingest", "delivery", "maintenance"},
    "reconcile": {"core", "host", "observability", "store", "sinks", "ingest"},
    "web": {
        *("core", "host", "observability", "store", "sinks", "config"),
        *("ingest", "delivery", "maintenance", "control", "reconcile"),
    },
    "app": {
        *("core", "host", "observability", "store", "sinks", "config"),
        *("ingest", "delivery", "maintenance", "control", "reconcile", "web"),
    },
    "cli": {"core", "host", "observability", "store", "sinks", "config", "app"},
}
"""The folders of the house, bottom to top, and the folders that each one may import from beside itself."""


def picture() -> str:
    """Draw the house with numbered folders: a folder on the left may import the folders that have a dot in its line."""
    names = list(HOUSE)
    width = max(map(len, names))
    head = " " * (width + 4) + "".join(f"{number:4}" for number in range(1, len(names) + 1))
    lines = [
        f"{number:2}  {name:{width}}" + "".join("   ." if other in HOUSE[name] else "    " for other in names)
        for number, name in enumerate(names, 1)
    ]
    return "".join(f"{line.rstrip()}\n" for line in (head, *lines))
