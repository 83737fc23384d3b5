"""Finding service requests by their names, and the chains of their messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from asyncpg import Record

from gateway.store import bounds
from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import Key
from gateway.store.postgres.connection import Connection
from gateway.store.request_answers import Kept

Heads = dict[int, int]
"""The seq of the newest message of a request, by the request's number."""
ROW: Final = f"SELECT r.source, r.sr_uuid, {STANDING} FROM requests r JOIN standings s ON s.request = r.number"
"""The rows of requests, for `kept_of`."""
CHAIN: Final = (
    "WITH RECURSIVE chain (head, place, seq, before) AS (SELECT h.seq, 1, e.message, e.before"
    " FROM unnest($1::bigint[]) AS h (seq) JOIN entries e ON e.message = h.seq"
    " UNION ALL SELECT c.head, c.place + 1, e.message, e.before FROM chain c"
    " JOIN entries e ON e.message = c.before WHERE c.place < $2)"
)
"""The messages of requests from their newest ones, or others of them, back: at most so many of each."""


async def read(connection: Connection, keys: Collection[Key]) -> Kept:
    """Read the rows of some service requests, of those that have one."""
    of = [source for source, _ in keys], [sr_uuid.encode() for _, sr_uuid in keys]
    query = f"{ROW} JOIN unnest($1::text[], $2::bytea[]) AS k (source, sr_uuid) ON r.source = k.source AND r.sr_uuid = k.sr_uuid"
    return kept_of(await connection.fetch(query, *of)) if keys else {}


async def numbered(connection: Connection, numbers: Collection[int]) -> Kept:
    """Read the rows of some service requests by their numbers."""
    return kept_of(await connection.fetch(f"{ROW} WHERE r.number = ANY($1::bigint[])", list(numbers)))


async def chain(connection: Connection, last: int, limit: int) -> list[int]:
    """Read the seqs of a request's messages from one of them back to the first, the newest first, at most `limit`."""
    return [seq for (seq,) in await connection.fetch(f"{CHAIN} SELECT seq FROM chain ORDER BY place", [last], limit)]


async def of_uuid(connection: Connection, sr_uuid: str) -> Kept:
    """Find the requests with this uuid, one for each source that has it."""
    return kept_of(await connection.fetch(f"{ROW} WHERE r.sr_uuid = $1", sr_uuid.encode()))


async def of_reference(connection: Connection, reference: bytes, limit: int) -> Kept:
    """Find requests with this reference id, given in its folded form; at most `limit`, the latest ones."""
    query = f"{ROW} WHERE r.reference = $1 ORDER BY r.number DESC LIMIT $2"
    return kept_of(await connection.fetch(query, reference, limit))


async def begun(connection: Connection, beginning: str, limit: int) -> Kept:
    """Find requests whose uuid begins like this, in the order of the uuids; at most `limit`."""
    raw = beginning.encode()
    query = f"{ROW} WHERE r.sr_uuid >= $1 AND r.sr_uuid < $2 ORDER BY r.sr_uuid LIMIT $3"
    return kept_of(await connection.fetch(query, raw, raw + b"\xff", limit))


async def of_messages(connection: Connection, seqs: Sequence[int]) -> Kept:
    """Find the requests that some messages name."""
    query = "SELECT source, sr_uuid FROM messages WHERE seq = ANY($1::bigint[]) AND sr_uuid <> ''"
    return await read(connection, {(source, sr_uuid.decode()) for source, sr_uuid in await connection.fetch(query, seqs)})


async def neighbours(connection: Connection, reference: bytes, limit: int) -> list[str]:
    """Read the reference ids that stand before and behind one in the order of the alphabet, `limit` each."""
    query = "(SELECT reference_id FROM requests WHERE reference IS NOT NULL AND reference {} LIMIT $2)"
    both = " UNION ALL ".join(query.format(which) for which in ("< $1 ORDER BY reference DESC", ">= $1 ORDER BY reference"))
    return [reference_id.decode() for (reference_id,) in await connection.fetch(both, reference, limit)]


async def heads_of_uuid(connection: Connection, sr_uuid: str) -> Heads:
    return _heads(await of_uuid(connection, sr_uuid))


async def heads_of_reference(connection: Connection, reference: bytes) -> Heads:
    return _heads(await of_reference(connection, reference, bounds.MOST_OF_A_REFERENCE))


async def heads_begun(connection: Connection, beginning: str, limit: int) -> Heads | None:
    """Find the newest messages of the requests whose uuid begins like this; None if there are more than `limit`."""
    raw = beginning.encode()
    many = "SELECT EXISTS (SELECT FROM requests WHERE sr_uuid >= $1 AND sr_uuid < $2 LIMIT 1 OFFSET $3)"
    if await connection.fetchval(many, raw, raw + b"\xff", limit):
        return None  # found in the index alone: no row is read that is not needed
    return _heads(await begun(connection, beginning, limit + 1))


def kept_of(rows: Iterable[Record]) -> Kept:
    """Build rows by their key."""
    return {(row[0], row[1].decode()): standing_of(row[2:]) for row in rows}


def _heads(kept: Kept) -> Heads:
    return {row.number: row.last for row in kept.values()}
