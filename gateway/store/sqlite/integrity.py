"""Checking a database: the file, what refers to what, and the counters. Reads all of it, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import msgspec

from gateway.core.documents import Health
from gateway.core.errors import StoreCorrupt
from gateway.core.records import Counts
from gateway.store.miscounts import MOST, miscounts
from gateway.store.sqlite import counting
from gateway.store.sqlite.backup import facts
from gateway.store.sqlite.migrations import check_written, scripts
from gateway.store.sqlite.sqlite_errors import translated

_AT_ONCE = 10_000
"""Messages whose deliveries one statement counts: sorting more takes a temporary file, which a sandbox may deny."""


def examine(connection: sqlite3.Connection, path: Path) -> Health:
    """Check everything; this takes minutes if the file is big.

    The full `integrity_check` compares each index with its table, beside the pages that `quick_check` reads after a crash. A
    delivery that is missing in the index of due deliveries would never be attempted, and no other check finds that.
    Raises StoreCorrupt if the file is a database of another program, or of a later version.
    """
    found = Health(file=str(path), size=path.stat().st_size, newest_schema=len(scripts()), damage=[], miscounted=[])
    try:
        schema = check_written(connection, path)
        connection.execute("BEGIN")
        try:
            found.damage.extend(_damage(connection))
            found.miscounted.extend(_miscounted(connection))
            _, messages, newest = facts(connection)
            ((size,),) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            counts = counting.counts(connection).values()
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if not isinstance(translated(error), StoreCorrupt):
            raise
        found.damage.append(str(error))
        return found
    return msgspec.structs.replace(
        found,
        schema=schema,
        size=size,
        messages=messages,
        newest=newest,
        deliveries={state: sum(getattr(one, state) for one in counts) for state in Counts.__struct_fields__},
    )


def _damage(connection: sqlite3.Connection) -> list[str]:
    said = [text for (text,) in connection.execute(f"PRAGMA integrity_check({MOST})")]
    lost = connection.execute("PRAGMA foreign_key_check").fetchmany(MOST)
    alone = [f"a row of {table} belongs to no row of {parent}" for table, _, parent, _ in lost]
    return [text for text in said if text != "ok"] + alone


def _miscounted(connection: sqlite3.Connection) -> list[str]:
    counters = counting.counters(connection).items()
    kept = Counter({(sink, state): getattr(one, state) for sink, one in counters for state in Counts.__struct_fields__})
    counted = Counter[tuple[str, str]]()
    first, last = connection.execute(
        "SELECT coalesce((SELECT min(message) FROM deliveries), 0), coalesce((SELECT max(message) FROM deliveries), 0)"
    ).fetchone()
    for begin in range(first, last + 1, _AT_ONCE):
        rows = connection.execute(
            "SELECT sink, state, count(*) FROM deliveries WHERE message BETWEEN ? AND ? GROUP BY sink, state",
            (begin, begin + _AT_ONCE - 1),
        )
        counted.update({(sink, state): number for sink, state, number in rows})
    return miscounts(kept, counted)


def quick_check(connection: sqlite3.Connection) -> str:
    """Read the whole file. Returns `ok`, or the first defect."""
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return str(answer)
