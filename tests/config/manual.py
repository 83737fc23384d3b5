"""Reads `gateway.toml.example` as a person does: its tables, their keys, and the comment on each.

Two rules hold in the example. A commented key is a line `# key = value`. A commented table is a block of lines that each begin
with `# `; without that they look like a table that is not commented, with commented keys of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.config.settings import (
    AdminSettings,
    AdminUserSettings,
    AuditSettings,
    DefaultsSettings,
    NodeSettings,
    ReconcileSettings,
    RouteSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
    WatchSettings,
)
from gateway.config.settings import TestSettings as Expectation
from gateway.sinks import SINK_TYPES

EXAMPLE = Path(__file__).parents[2] / "gateway.toml.example"
NOT_YET = "has no effect yet"

_HEADER = re.compile(r"(# )?(\[{1,2})([a-z_.]+)\]{1,2}")
_EXCLUDING = {"basic": "sinks", "url": "store"}
"""Keys that another key of their table excludes, with the first word of the table's name."""
_KEY = re.compile(r"(# )?([a-z_]+) = .*")


class Key(Struct, frozen=True):
    name: str
    value: Any
    commented: bool
    """True if the key itself is commented out, apart from its table."""
    line: str


class Table(Struct, frozen=True):
    name: str
    """The name, such as `server` or `sinks.erp`. All `[[routes]]` have the same one."""
    is_list: bool
    commented: bool
    start: int
    """The 0-based number of its first line. `end` is the number of the line after its last one."""
    end: int
    lines: tuple[str, ...]
    """Its lines, without the comment sign of the table as a whole."""

    def keys(self) -> Iterator[Key]:
        for line in self.lines[1:]:
            if match := _KEY.fullmatch(line):
                (name, value), *_ = tomllib.loads(line.removeprefix("# ")).items()
                yield Key(name, value, match[1] is not None, line)


def tables() -> list[Table]:
    """Return every table of the example, in the order of the file."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    starts = [(at, match) for at, line in enumerate(lines) if (match := _HEADER.fullmatch(line))]
    found = []
    for number, (at, match) in enumerate(starts):
        following = starts[number + 1][0] if number + 1 < len(starts) else len(lines)
        commented = match[1] is not None
        end = next((n for n in range(at, following) if not lines[n].startswith("# ")), following) if commented else following
        own = tuple(line.removeprefix("# ") if commented else line for line in lines[at:end])
        found.append(Table(match[3], match[2] == "[[", commented, at, end, own))
    return found


def example_with(replaced: Mapping[int, tuple[str, ...]]) -> str:
    """Return the text of the example with other lines for some tables, by the line at which each starts."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for table in sorted(tables(), key=lambda table: -table.start):
        if table.start in replaced:
            lines[table.start : table.end] = replaced[table.start]
    return "\n".join(lines) + "\n"


def everything_uncommented() -> str:
    """Return the example with every table and every key uncommented, except those that exclude another one."""
    return example_with(
        {
            table.start: tuple(
                line.removeprefix("# ")
                if (key := _KEY.fullmatch(line)) and _EXCLUDING.get(key[2]) != table.name.partition(".")[0]
                else line
                for line in table.lines
            )
            for table in tables()
        }
    )


TABLES = tables()


def keys_of(name: str) -> list[Key]:
    return list(chain.from_iterable(table.keys() for table in TABLES if table.name == name))


def is_type(table: Table, key: Key) -> bool:
    """Return True if a key is the `type` of a sink."""
    return table.name.startswith("sinks.") and key.name == "type"


STRUCTS: dict[str, type[Struct]] = {
    "server": ServerSettings,
    "admin": AdminSettings,
    "admin.users.suzuki": AdminUserSettings,
    "store": StoreSettings,
    "node": NodeSettings,
    "audit": AuditSettings,
    "defaults": DefaultsSettings,
    "reconcile": ReconcileSettings,
    "sources.legitmark": SourceSettings,
    **{table.name: SINK_TYPES[key.value].config for table in TABLES for key in keys_of(table.name) if is_type(table, key)},
    "routes": RouteSettings,
    "tests": Expectation,
    "watch": WatchSettings,
}
"""The struct of each table of the example."""
