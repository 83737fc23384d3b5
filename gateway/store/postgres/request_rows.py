"""The rows of service requests: how they are read, written and found. Decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from msgspec import structs

from gateway.core.packed_rows import pack_request
from gateway.store.columns import STANDING, blob, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of

REQUESTS: Final = "requests r JOIN standings s ON s.request = r.number"
"""The requests, with what changes of them."""
_READ: Final = (
    f"SELECT r.source, r.sr_uuid, {STANDING} FROM unnest($1::text[], $2::bytea[]) AS k (source, sr_uuid)"
    " JOIN requests r ON r.sr_uuid = k.sr_uuid AND r.source = k.source JOIN standings s ON s.request = r.number"
)
_ADD: Final = (
    "INSERT INTO requests (number, source, sr_uuid, reference_id, reference)"
    " SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[]) ON CONFLICT (number) DO NOTHING"
)
_WRITE: Final = (
    "INSERT INTO standings (request, last, milestone, entered_ms, flags, row)"
    " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::bytea[])"
    " ON CONFLICT (request) DO UPDATE SET last = excluded.last, milestone = excluded.milestone,"
    " entered_ms = excluded.entered_ms, flags = excluded.flags, row = excluded.row"
)
_NAME: Final = (
    "UPDATE requests SET reference_id = k.reference_id, reference = k.reference"
    " FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS k (number, reference_id, reference)"
    " WHERE requests.number = k.number AND requests.reference_id IS NULL"
)


async def read(connection: Connection, keys: Collection[Key]) -> dict[Key, Standing]:
    """Read the rows of some service requests, of those that have one."""
    found = await connection.fetch(_READ, [source for source, _ in keys], [sr_uuid.encode() for _, sr_uuid in keys])
    return {(source, sr_uuid.decode()): standing_of(row) for source, sr_uuid, *row in found}


async def write(connection: Connection, rows: Sequence[tuple[Key, Standing]]) -> None:
    """Write rows, in place of what the database has of them."""
    new = [(row.number, key[0], key[1].encode(), blob(row.reference_id), row.reference) for key, row in rows if not row.filed]
    if new:
        await connection.execute(_ADD, *columns_of(new, 5))
    if rows:
        values = [(row.number, row.last, *row.columns, pack_request(row.request)) for _, row in rows]
        await connection.execute(_WRITE, *columns_of(values, 6))


async def file(connection: Connection, key: Key, row: Standing) -> Standing:
    """Write a row at once. Returns it as a row that the database knows."""
    await write(connection, [(key, row)])
    if row.reference_id is not None and row.reference is not None:
        await name(connection, [(row.number, row.reference_id, row.reference)])
    return structs.replace(row, filed=True)


async def name(connection: Connection, names: Sequence[tuple[int, str, bytes]]) -> None:
    """Give requests a reference id that came later than their first message: number, as it came, and folded."""
    await connection.execute(
        _NAME, *columns_of([(number, blob(reference_id), reference) for number, reference_id, reference in names], 3)
    )


async def delete(connection: Connection, number: int) -> None:
    await connection.execute("DELETE FROM requests WHERE number = $1", number)
