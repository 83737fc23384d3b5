"""Taking a message that is about to be purged out of the chain of its service request, which is locked."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.store.hot_rows import Key
from gateway.store.postgres import request_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.ledger_rows import PostgresLedger

_FARTHEST: Final = 500
"""Messages of a request that are looked at to find the one that links to another one."""
_ENTRY: Final = (
    "SELECT e.request, e.before, (SELECT seq FROM messages WHERE seq = e.before), m.source, m.sr_uuid"
    " FROM entries e JOIN messages m ON m.seq = e.message WHERE e.message = $1"
)
_LINK: Final = (
    "WITH RECURSIVE chain (seq, before, steps) AS (SELECT message, before, 1 FROM entries WHERE message = $1 UNION ALL"
    " SELECT e.message, e.before, c.steps + 1 FROM chain c JOIN entries e ON e.message = c.before"
    " WHERE c.before > $2 AND c.steps < $3)"
    " SELECT seq, before, steps FROM chain ORDER BY steps DESC LIMIT 1"
)
"""The message of a chain that links to another one, or where the chain ends before it."""


async def unlink(connection: Connection, ledger: PostgresLedger, seq: int) -> int | None:
    """Take a message out of the chain of its request, and forget the request if it was the last one.

    Mostly nothing is to be done: the oldest message goes first, and a link to what is gone ends the chain. But if a dead delivery
    holds an older message back, the chain has to lead past this one.

    Returns the rows that were looked at or changed. None: the chain is too long to find the place; then the message has to stay
    until the older one is gone.
    """
    entry = await connection.fetchrow(_ENTRY, seq)
    if entry is None or entry[0] is None:
        return 1
    number, before, older, source, sr_uuid = entry
    key: Key = (source, sr_uuid.decode())
    (standing,) = await ledger.load(connection, [key])
    if standing is None:
        return 2
    if older is None:
        if standing.last == seq:
            await request_rows.delete(connection, number)
            ledger.change(key, None)
        return 3
    if standing.last == seq:
        ledger.change(key, msgspec.structs.replace(standing, last=before))
        return 4
    link = await connection.fetchrow(_LINK, standing.last, seq, _FARTHEST)
    if link is None:
        return 3
    at, linked, steps = link
    if linked == seq:
        await connection.execute("UPDATE entries SET before = $1 WHERE message = $2", before, at)
        return 3 + int(steps)
    if steps < _FARTHEST:
        return 3 + int(steps)  # the chain ended before: the older message is not found by it in any case
    return None
