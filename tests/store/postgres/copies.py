"""A database of SQLite copied into PostgreSQL, row by row, so that both engines answer the same questions about the same rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.store.postgres.connection import Connection

_TABLES = (
    *("messages", "entries", "deliveries", "attempts", "conflicts", "counters", "sinks", "threads", "timeline", "rules"),
    *("signing_keys", "requests", "standings", "loose_references", "arrivals", "repeats", "acts", "watch_timers", "lasting"),
    *("known_words", "joins", "sink_acts", "unlogged"),
)
"""The tables in an order in which no row refers to one that is not there yet. `ledger` and `nodes` are of one engine only."""


async def copy(database: Path, connection: Connection) -> None:
    """Copy every row into the empty schema of a connection, as those of one node."""
    await connection.execute("INSERT INTO nodes (node, name) VALUES (1, 'gw1')")
    await connection.execute("DELETE FROM timeline")
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as file:
        for table in _TABLES:
            await _copy(file, table, connection)
    await connection.execute("ANALYZE")


async def _copy(file: sqlite3.Connection, table: str, connection: Connection) -> None:
    asked = await connection.fetch(
        "SELECT column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        table,
    )
    types = {name: kind for name, kind in asked}  # noqa: C416 - a record is no pair
    columns = [name for name in types if name != "node"]
    changes: list[Callable[[Any], Any]] = [_flag if types[name] == "boolean" else _same for name in columns]
    nodes = [1] if "node" in types else []

    def row(values: Sequence[Any]) -> list[Any]:
        return [change(value) for change, value in zip(changes, values, strict=True)] + nodes

    found = (row(values) for values in file.execute(f"SELECT {', '.join(columns)} FROM {table}"))
    await connection.copy_records_to_table(table, records=found, columns=columns + ["node"] * len(nodes))


def _same(value: Any) -> Any:
    return value


def _flag(value: Any) -> Any:
    return None if value is None else bool(value)
