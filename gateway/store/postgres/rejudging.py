"""Judging a message that is understood only after others of its service request have come, see `store.misunderstood`.

The message gets its place in the chain of its request. The facts of the other messages stay as they are. The transaction holds
the locks of the requests that the message named and names now.
"""

from __future__ import annotations

from typing import Final

from gateway.core.events import Event
from gateway.core.ledger import Facts, encode_facts, encode_request
from gateway.core.references import folded
from gateway.core.watches import Entering
from gateway.store.hot_rows import Standing
from gateway.store.misunderstood import FARTHEST_JUDGED, Misunderstood, judged_anew, times_begun
from gateway.store.postgres import request_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.unlinking import unlink
from gateway.store.standing_timers import Since

_CHAIN: Final = (
    "WITH RECURSIVE chain (seq, before, facts, steps) AS (SELECT message, before, facts, 1 FROM entries WHERE message = $1"
    " UNION ALL SELECT e.message, e.before, e.facts, c.steps + 1 FROM chain c JOIN entries e ON e.message = c.before"
    " WHERE c.before > $2 AND c.steps < $3)"
)
"""The messages of a request that came after one, the newest first, and the one before those."""
_WRITE: Final = (
    "INSERT INTO entries (message, request, before, facts) VALUES ($1, $2, $3, $4) ON CONFLICT (message) DO UPDATE SET"
    " request = excluded.request, before = excluded.before, facts = excluded.facts"
)


async def read(connection: Connection, seq: int) -> Misunderstood:
    """Read what the ledger has of a message; before the message is given its new meaning."""
    row = await connection.fetchrow(
        "SELECT m.source, m.sr_uuid, m.received_ms, e.request, e.before, e.facts"
        " FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = $1",
        seq,
    )
    assert row is not None
    source, sr_uuid, received_ms, number, before, facts = row
    key = (source, sr_uuid.decode()) if sr_uuid else None
    return Misunderstood(seq, key, number, before, facts, source, received_ms / 1000)


async def leave(connection: Connection, ledger: PostgresLedger, old: Misunderstood, event: Event) -> Misunderstood | None:
    """Take a message out of the chain of a request that it does not belong to, while it still has its old meaning.

    Returns what the ledger has of it now. None: it cannot be judged, because it has no place that can be found.
    """
    await connection.execute("DELETE FROM loose_references WHERE message = $1", old.seq)
    if old.number is None or old.key in (None, (old.source, event.sr_uuid)):
        return old
    if await unlink(connection, ledger, old.seq) is None:
        return None
    return old._replace(number=None, before=None, facts=None)


async def judge_again(
    connection: Connection, ledger: PostgresLedger, old: Misunderstood, event: Event, since: Since
) -> tuple[Facts | None, tuple[Entering, ...]]:
    """Judge a message by its new meaning, and write its entry and the row of its request.

    Returns its facts, and the times that begin because the request is in another state now.
    """
    reference = None if event.reference_id is None else folded(event.reference_id)
    if not event.sr_uuid:
        await _write_loose(connection, old.seq, reference)
        return None, ()
    key = old.source, event.sr_uuid
    (known,) = await ledger.load(connection, [key])
    row = None if known is None else known.request
    place = await _placed(connection, ledger, known, old)
    if place is None:
        return None, ()
    number, before, last = place
    others = [] if row is None or old.facts is None else await _others(connection, old.seq, last)
    facts, after = judged_anew(ledger, row, old, event, others)
    first = known.reference_id if known is not None and known.reference_id is not None else event.reference_id
    if first != event.reference_id:
        await _write_loose(connection, old.seq, reference)
    await connection.execute(_WRITE, old.seq, number, before, None if facts is None else encode_facts(facts))
    standing = Standing(number, last, encode_request(after), first, own=False, filed=known is not None)
    ledger.change(key, await request_rows.file(connection, key, standing))
    return facts, times_begun(key, first, row, after, since)


async def _placed(
    connection: Connection, ledger: PostgresLedger, known: Standing | None, old: Misunderstood
) -> tuple[int, int | None, int] | None:
    """Give a message its place in the chain of a request, which is in the order of arrival.

    Returns the number of the request, the message before this one, and the newest one; None if the place is too far back.
    """
    if known is None:
        return ledger.new_number(), None, old.seq
    if old.number is not None:
        return known.number, old.before, known.last
    if known.last < old.seq:
        return known.number, known.last, old.seq
    newer = await connection.fetch(f"{_CHAIN} SELECT seq, before FROM chain ORDER BY steps", known.last, old.seq, FARTHEST_JUDGED)
    if len(newer) == FARTHEST_JUDGED:
        return None
    after, before = newer[-1]
    await connection.execute("UPDATE entries SET before = $1 WHERE message = $2", old.seq, after)
    # A link that leads to no message, because that was purged, ends the chain.
    return known.number, before if before is not None and before < old.seq else None, known.last


async def _others(connection: Connection, seq: int, last: int) -> list[bytes]:
    """Read the facts of the other messages of a request, the newest ones."""
    query = f"{_CHAIN} SELECT facts FROM chain WHERE seq <> $4 AND facts IS NOT NULL"
    return [row[0] for row in await connection.fetch(query, last, 0, FARTHEST_JUDGED, seq)]


async def _write_loose(connection: Connection, seq: int, reference: bytes | None) -> None:
    if reference is not None:
        query = "INSERT INTO loose_references (message, reference) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        await connection.execute(query, seq, reference)
