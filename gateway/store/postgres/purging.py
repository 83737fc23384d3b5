"""Deleting finished messages whose retention is over, in slices of bounded cost, inside the writer's transaction."""

from __future__ import annotations

from typing import Final

from gateway.core.outcome import Reason
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres import rulebook
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.joining import is_still_owed
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.many_columns import number_of
from gateway.store.postgres.request_locks import lock_of_messages
from gateway.store.postgres.unlinking import unlink
from gateway.store.purged import Purged

_MOST_PURGED: Final = 1000
"""Rows and pages of bodies that one transaction deletes, give or take the deliveries of one message."""
_PAGE: Final = 4096
_FEW: Final = 16
"""Conflicting duplicates deleted at once: the body of each may be as large as a message."""
_SLICE: Final = "SELECT seq, received_ms, duplicates, length(body) FROM messages WHERE seq > $1 ORDER BY seq LIMIT $2"
_OWED: Final = "SELECT sink, state, attempts, reason FROM deliveries WHERE message = $1 FOR UPDATE"


async def purge_slice(
    connection: Connection, changes: Changes, *, after: int, slice_size: int, before: float, ledger: PostgresLedger
) -> Purged:
    """Delete a slice of old conversations, of old rules and of old messages."""
    await purge_threads(connection, slice_size, before)
    await rulebook.purge(connection, before)
    return await purge(connection, after, slice_size, before, changes, ledger)


async def purge(
    connection: Connection, after: int, slice_size: int, before: float, changes: Changes, ledger: PostgresLedger
) -> Purged:
    """Look at the next `slice_size` messages with seq > `after`, and delete the finished ones received before an instant.

    The slice ends early once it reaches _MOST_PURGED rows and pages: with 200 sinks a message has many rows, and a large body
    has many pages. A message with very many attempts or conflicts loses them over several slices, and goes last itself.

    Messages with a queued or dead delivery stay, those that such a delivery of another message has to tell, and messages without
    which older ones of their request would not be found.
    A request is forgotten with its last message. The slice passes by young messages, because after a jump of the clock old ones
    may lie behind them.
    """
    rows = await connection.fetch(_SLICE, after, slice_size)
    old = [seq for seq, received_ms, *_ in rows if received_ms < milliseconds(before)]
    if old:
        await lock_of_messages(connection, old)
    gone = used = 0
    any_old = False
    for seq, received_ms, duplicates, size in rows:
        if used >= _MOST_PURGED:
            return Purged(gone, after, any_old, at_end=False)
        used += 1
        if received_ms < milliseconds(before):
            any_old = True
            owed = await connection.fetch(_OWED, seq)
            used += len(owed)
            joined = any(reason == Reason.JOINED for *_, reason in owed)
            finished = not any(state in ("queued", "dead") for _, state, *_ in owed)
            if finished and not (joined and await is_still_owed(connection, seq)):
                attempts = sum(attempts for _, _, attempts, _ in owed)
                if attempts > _MOST_PURGED:
                    attempts = await _purge_attempts(connection, seq)
                if attempts >= _MOST_PURGED or (duplicates and await _purge_conflicts(connection, seq)):
                    return Purged(gone, after, any_old, at_end=False)  # there may be more attempts or conflicts
                steps = await unlink(connection, ledger, seq)
                if steps is None:
                    after = seq
                    continue
                used += attempts + steps + size // _PAGE
                changes.subtract((sink, state) for sink, state, *_ in owed)
                # What else the tables have of it goes by ON DELETE CASCADE.
                gone += number_of(await connection.execute("DELETE FROM messages WHERE seq = $1", seq))
        after = seq
    return Purged(gone, after, any_old, at_end=len(rows) < slice_size)


async def _purge_attempts(connection: Connection, seq: int) -> int:
    """Delete up to _MOST_PURGED attempts of a message. Each `Retry-After` makes one, so that a delivery may have very many."""
    return number_of(
        await connection.execute(
            "DELETE FROM attempts WHERE message = $1 AND (sink, attempt) IN"
            " (SELECT sink, attempt FROM attempts WHERE message = $1 ORDER BY sink, attempt LIMIT $2)",
            seq,
            _MOST_PURGED,
        )
    )


async def _purge_conflicts(connection: Connection, seq: int) -> bool:
    """Delete some conflicting duplicates of a message; True if there may be more."""
    few = "SELECT body_sha256 FROM conflicts WHERE message = $1 LIMIT $2"
    query = f"DELETE FROM conflicts WHERE message = $1 AND body_sha256 IN ({few})"
    return number_of(await connection.execute(query, seq, _FEW)) == _FEW


async def purge_threads(connection: Connection, slice_size: int, before: float) -> None:
    """Forget up to `slice_size` conversations that had no event since an instant."""
    await connection.execute(
        "DELETE FROM threads WHERE (sink, channel, sr) IN"
        " (SELECT sink, channel, sr FROM threads WHERE used_ms < $1 ORDER BY used_ms LIMIT $2)",
        milliseconds(before),
        slice_size,
    )


async def before_next_old(connection: Connection, after: int, before: float) -> int | None:
    """Read the seq before the next message beyond `after` that was received before an instant; None if there is none."""
    # Block by block, because the index of the time is in blocks: within one it finds the old ones at once.
    block = await connection.fetchval(
        "WITH RECURSIVE blocks (block) AS (SELECT $1::bigint >> 8 UNION ALL"
        " SELECT block + 1 FROM blocks WHERE block < (SELECT max(seq) >> 8 FROM messages))"
        " SELECT block FROM blocks WHERE EXISTS (SELECT 1 FROM messages WHERE seq >> 8 = block AND received_ms < $2 AND seq > $1)"
        " LIMIT 1",
        after,
        milliseconds(before),
    )
    if block is None:
        return None
    seq = await connection.fetchval(
        "SELECT min(seq) FROM messages WHERE seq >> 8 = $3 AND received_ms < $2 AND seq > $1", after, milliseconds(before), block
    )
    return None if seq is None else seq - 1
