"""The rows of service requests in the file: how a row is read, written and found. Decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

from msgspec import structs

from gateway.core.packed_rows import pack_request
from gateway.store.columns import STANDING, blob, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.sqlite.many_rows import chunks, marks, values_of

REQUESTS: Final = "requests r CROSS JOIN standings s ON s.request = r.number"
"""The requests, with what changes of them. SQLite reads a CROSS JOIN in this order (sqlite.org/optoverview.html)."""


def read(connection: sqlite3.Connection, keys: Collection[Key]) -> dict[Key, Standing]:
    """Read the rows of some service requests, of those that have one."""
    found: dict[Key, Standing] = {}
    for part in chunks([(source, sr_uuid.encode()) for source, sr_uuid in keys]):
        for source, sr_uuid, *row in connection.execute(_read(len(part)), values_of(part)):
            found[source, sr_uuid.decode()] = standing_of(row)
    return found


def write(connection: sqlite3.Connection, rows: Sequence[tuple[Key, Standing]]) -> None:
    """Write rows, in place of what the file has of them."""
    new = [(row.number, key[0], key[1].encode(), blob(row.reference_id), row.reference) for key, row in rows if not row.filed]
    for part in chunks(new):
        connection.execute(_add(len(part)), values_of(part))
    for chunk in chunks(rows):
        values: list[object] = []
        for _, row in chunk:
            request, columns = row.decoded()
            values += (row.number, row.last, *columns, pack_request(request))
        connection.execute(_write(len(chunk)), values)


def file(connection: sqlite3.Connection, key: Key, row: Standing) -> Standing:
    """Write a row before the flush that it would wait for. Returns it as a row that the file knows."""
    write(connection, [(key, row)])
    if row.reference_id is not None and row.reference is not None:
        name(connection, [(row.number, row.reference_id, row.reference)])
    return structs.replace(row, filed=True)


def name(connection: sqlite3.Connection, names: Sequence[tuple[int, str, bytes]]) -> None:
    """Give requests of the file a reference id that came later than their first message: number, as it came, and folded.

    A request that the file does not have yet is written with it.
    """
    connection.executemany(
        "UPDATE requests SET reference_id = ?2, reference = ?3 WHERE number = ?1 AND reference_id IS NULL",
        [(number, blob(reference_id), reference) for number, reference_id, reference in names],
    )


def delete(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM requests WHERE number = ?", (number,))


@cache
def _read(rows: int) -> str:
    return (
        f"SELECT r.source, r.sr_uuid, {STANDING} FROM (VALUES {marks(rows)}) AS k"
        " CROSS JOIN requests r INDEXED BY requests_by_uuid ON r.sr_uuid = k.column2 AND r.source = k.column1"
        " CROSS JOIN standings s ON s.request = r.number"
    )


@cache
def _add(rows: int) -> str:
    values = marks(rows, "(?, ?, ?, ?, ?)")
    return (
        f"INSERT INTO requests (number, source, sr_uuid, reference_id, reference) VALUES {values} ON CONFLICT (number) DO NOTHING"
    )


@cache
def _write(rows: int) -> str:
    return (
        "INSERT INTO standings (request, last, milestone, entered_ms, flags, row)"
        f" VALUES {marks(rows, '(?, ?, ?, ?, ?, ?)')} ON CONFLICT (request) DO UPDATE SET last = excluded.last,"
        " milestone = excluded.milestone, entered_ms = excluded.entered_ms, flags = excluded.flags, row = excluded.row"
    )
