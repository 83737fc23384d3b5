"""Finding the messages that an id stands for. A page looks at a bounded number of rows, and says where to go on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.references import folded
from gateway.store import bounds
from gateway.store.base import MOST_NAMED
from gateway.store.postgres import paging, request_lookup
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.selecting import Values, ids_beginning, whole_id

Found = tuple[list[int], int | None]
"""Seqs in order, and the seq to go on after (None at the end)."""


async def exactly(connection: Connection, text: str, after: int) -> Found:
    """Find the next messages whose gateway's id, sender's id, SR uuid or reference id this is; at most MOST_NAMED.

    The case of a reference id makes no difference.
    """
    raw, reference = text.encode(), folded(text)
    heads = await request_lookup.heads_of_uuid(connection, text) | await request_lookup.heads_of_reference(connection, reference)
    found = await _chained(connection, heads.values())
    if found is None:
        values = Values([after])
        conditions = [f"m.id = {values(whole_id(text))}", f"m.sender_id = {values(raw)}", f"m.sr_uuid = {values(raw)}"]
        # Escaped, because no text column takes every text of a sender. In this form the case of ASCII letters is all there is.
        lower = values(text.lower().encode())
        conditions.append(f"lower(encode(m.reference_id, 'escape') COLLATE \"C\") = encode({lower}, 'escape')")
        return await _walked(connection, conditions, values)
    rows = await connection.fetch(
        "SELECT seq FROM messages WHERE id = $1 UNION ALL SELECT seq FROM messages WHERE sender_id = $2"
        " UNION ALL SELECT message FROM loose_references WHERE reference = $3",
        whole_id(text),
        raw,
        reference,
    )
    return _page(found.union(seq for (seq,) in rows), after)


async def begun(connection: Connection, text: str, after: int) -> Found:
    """Find the next messages of which one of the first three ids begins like this; at most MOST_NAMED."""
    heads = await request_lookup.heads_begun(connection, text, bounds.FEW_REQUESTS)
    found = None if heads is None else await _chained(connection, heads.values())
    for column in ("id", "sender_id"):
        if found is not None:
            found = await _few(connection, column, text, found)
    if found is None:
        values = Values([after])
        return await _walked(connection, [_begins(column, text, values) for column in ("id", "sender_id", "sr_uuid")], values)
    return _page(found, after)


async def _few(connection: Connection, column: str, text: str, found: set[int]) -> set[int] | None:
    """Add the messages of which an id begins like this; None if there are too many to be put in order."""
    values = Values()
    query = f"SELECT m.seq FROM messages m WHERE {_begins(column, text, values)} LIMIT {values(bounds.FEW_OF_IDS + 1)}"
    rows = await connection.fetch(query, *values)
    return None if len(rows) > bounds.FEW_OF_IDS else found.union(seq for (seq,) in rows)


def _begins(column: str, text: str, values: Values) -> str:
    """Return the condition that an id of a message `m` begins like this."""
    if column == "id":
        least, greatest = ids_beginning(text) or (None, None)
        return f"m.id >= {values(least)} AND m.id <= {values(greatest)}"
    raw = text.encode()
    low, high = values(raw), values(raw + b"\xff")
    return f"m.{column} >= {low} AND m.{column} < {high}"


async def _chained(connection: Connection, heads: Collection[int]) -> set[int] | None:
    """Read the messages of requests, from their newest ones on; None if there are too many to be put in order."""
    most = bounds.FEW_OF_REQUESTS
    query = f"{request_lookup.CHAIN} SELECT seq FROM chain LIMIT $3"
    rows = await connection.fetch(query, list(heads), most + 1, most + 1) if heads else []
    return None if len(rows) > most else {seq for (seq,) in rows}


async def _walked(connection: Connection, conditions: Sequence[str], values: Values) -> Found:
    """Find messages that one of the conditions holds for, by a walk over the table from the first value on."""
    after = values[0]
    assert isinstance(after, int)
    go_on = await paging.last_of_the_next(connection, after)
    end = values(bounds.END if go_on is None else go_on)
    columns = "m.seq, m.id, m.sender_id, m.sr_uuid, m.reference_id"
    looked_at = f"SELECT {columns} FROM messages m WHERE m.seq > $1 AND m.seq <= {end} ORDER BY m.seq LIMIT {bounds.LOOKED_AT}"
    query = f"WITH m AS MATERIALIZED ({looked_at}) SELECT m.seq FROM m WHERE {' OR '.join(conditions)} ORDER BY m.seq"
    seqs = [seq for (seq,) in await connection.fetch(f"{query} LIMIT {MOST_NAMED}", *values)]
    return seqs, seqs[-1] if len(seqs) == MOST_NAMED else go_on


def _page(found: Collection[int], after: int) -> Found:
    seqs = sorted(seq for seq in found if seq > after)
    page = seqs[:MOST_NAMED]
    return page, page[-1] if len(seqs) > MOST_NAMED else None
