"""Deleting finished messages whose retention is over, in slices of bounded cost, inside the writer's transaction."""

from __future__ import annotations

import sqlite3

from gateway.core.outcome import Reason
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.purged import Purged
from gateway.store.sqlite import rulebook
from gateway.store.sqlite.joining import is_still_owed
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.unlinking import unlink

_MOST_PURGED = 1000
"""Rows and pages of bodies that one transaction deletes, give or take the deliveries of one message."""
_PAGE = 4096
_FEW = 16
"""Conflicting duplicates deleted at once: the body of each may be as large as a message."""


def purge_slice(
    connection: sqlite3.Connection, changes: Changes, *, after: int, slice_size: int, before: float, ledger: Ledger
) -> Purged:
    """Delete a slice of old conversations, of old rules and of old messages."""
    purge_threads(connection, slice_size, before)
    rulebook.purge(connection, before)
    return purge(connection, after, slice_size, before, changes, ledger)


def purge(connection: sqlite3.Connection, after: int, slice_size: int, before: float, changes: Changes, ledger: Ledger) -> Purged:
    """Look at the next `slice_size` messages with seq > `after`, and delete the finished ones received before an instant.

    The slice ends early once it reaches _MOST_PURGED rows and pages: with 200 sinks a message has many rows, and a large body
    has many pages. A message with very many attempts or conflicts loses them over several slices, and goes last itself.

    Messages with a queued or dead delivery stay, those that such a delivery of another message has to tell, and messages without
    which older ones of their request would not be found.
    A request is forgotten with its last message. The slice passes by young messages, because after a jump of the clock old ones
    may lie behind them.
    """
    rows = connection.execute(
        "SELECT seq, received_ms, duplicates, length(body) FROM messages WHERE seq > ? ORDER BY seq LIMIT ?", (after, slice_size)
    ).fetchall()
    gone = used = 0
    any_old = False
    for seq, received_ms, duplicates, size in rows:
        if used >= _MOST_PURGED:
            return Purged(gone, after, any_old, at_end=False)
        used += 1
        if received_ms < milliseconds(before):
            any_old = True
            owed = connection.execute("SELECT sink, state, attempts, reason FROM deliveries WHERE message = ?", (seq,)).fetchall()
            used += len(owed)
            joined = any(reason == Reason.JOINED for *_, reason in owed)
            if not any(state in ("queued", "dead") for _, state, *_ in owed) and not (joined and is_still_owed(connection, seq)):
                attempts = sum(attempts for _, _, attempts, _ in owed)
                if attempts > _MOST_PURGED:
                    attempts = _purge_attempts(connection, seq)
                if attempts >= _MOST_PURGED or (duplicates and _purge_conflicts(connection, seq)):
                    return Purged(gone, after, any_old, at_end=False)  # there may be more attempts or conflicts
                steps = unlink(connection, ledger, seq)
                if steps is None:
                    after = seq
                    continue
                used += attempts + steps + size // _PAGE
                changes.subtract((sink, state) for sink, state, *_ in owed)
                # What else the tables have of it goes by ON DELETE CASCADE.
                gone += connection.execute("DELETE FROM messages WHERE seq = ?", (seq,)).rowcount
        after = seq
    return Purged(gone, after, any_old, at_end=len(rows) < slice_size)


def _purge_attempts(connection: sqlite3.Connection, seq: int) -> int:
    """Delete up to _MOST_PURGED attempts of a message. Each `Retry-After` makes one, so that a delivery may have very many."""
    return connection.execute(
        "DELETE FROM attempts WHERE message = ?1 AND (sink, attempt) IN"
        " (SELECT sink, attempt FROM attempts WHERE message = ?1 ORDER BY sink, attempt LIMIT ?2)",
        (seq, _MOST_PURGED),
    ).rowcount


def _purge_conflicts(connection: sqlite3.Connection, seq: int) -> bool:
    """Delete some conflicting duplicates of a message; True if there may be more."""
    few = "SELECT rowid FROM conflicts WHERE message = ? LIMIT ?"
    return connection.execute(f"DELETE FROM conflicts WHERE rowid IN ({few})", (seq, _FEW)).rowcount == _FEW


def purge_threads(connection: sqlite3.Connection, slice_size: int, before: float) -> None:
    """Forget up to `slice_size` conversations that had no event since an instant."""
    connection.execute(
        "DELETE FROM threads WHERE (sink, channel, sr) IN"
        " (SELECT sink, channel, sr FROM threads WHERE used_ms < ? ORDER BY used_ms LIMIT ?)",
        (milliseconds(before), slice_size),
    )


def before_next_old(connection: sqlite3.Connection, after: int, before: float) -> int | None:
    """Read the seq before the next message beyond `after` that was received before an instant; None if there is none."""
    old = "messages INDEXED BY messages_by_time {} seq >> 8 = {} AND received_ms < ?2 AND seq > ?1"
    block = connection.execute(
        "WITH RECURSIVE blocks (block) AS (SELECT ?1 >> 8 UNION ALL"
        " SELECT block + 1 FROM blocks WHERE block < (SELECT max(seq) >> 8 FROM messages))"
        f" SELECT block FROM blocks CROSS JOIN {old.format('ON', 'block')} LIMIT 1",
        (after, milliseconds(before)),
    ).fetchone()
    if block is None:
        return None
    query = f"SELECT min(seq) FROM {old.format('WHERE', '?3')}"
    (seq,) = connection.execute(query, (after, milliseconds(before), block[0])).fetchone()
    return None if seq is None else seq - 1
