"""When the messages of a whole block arrived, so that a list of some hours passes by the blocks that are older.

Noted with the flushes of the ledger. A block that is not noted yet, or was accepted by an earlier version, is looked into.
"""

from __future__ import annotations

import sqlite3
from typing import Final

BITS: Final = 15
"""The seq without so many bits is the number of a block, which has 32,768 messages."""
_INDEX_BITS: Final = 8
"""The same of the blocks of the index `messages_by_time`."""
_NOTED_AT_ONCE: Final = 4
"""Blocks that one call notes, 5 ms each: more come only after an upgrade."""
_NOTE: Final = (
    # A block may be empty, if no seq of it was used or all were purged: it overlaps with no time.
    "INSERT INTO arrivals SELECT ?1, coalesce(min(received_ms), 9223372036854775807), coalesce(max(received_ms), 0)"
    f" FROM messages INDEXED BY messages_by_time WHERE seq >> {_INDEX_BITS} >= ?2 AND seq >> {_INDEX_BITS} < ?3"
)


def note(connection: sqlite3.Connection, accepted_to: int) -> None:
    """Note the next blocks that are whole, and forget those that were purged.

    Args:
        accepted_to: the seq up to which nothing more is accepted.
    """
    oldest = connection.execute("SELECT seq FROM messages ORDER BY seq LIMIT 1").fetchone()
    if oldest is None:
        return
    first = oldest[0] >> BITS
    connection.execute("DELETE FROM arrivals WHERE block < ?", (first,))
    (last,) = connection.execute("SELECT max(block) FROM arrivals").fetchone()
    begin = first if last is None else last + 1
    for block in range(begin, min(begin + _NOTED_AT_ONCE, (accepted_to + 1) >> BITS)):
        wide = BITS - _INDEX_BITS
        connection.execute(_NOTE, (block, block << wide, (block + 1) << wide))


def first_block(connection: sqlite3.Connection, since_ms: int, until_ms: int, begin: int) -> int:
    """Find the first block of `messages_by_time` from `begin` on that may have a message of a window of time."""
    wide = BITS - _INDEX_BITS
    noted = connection.execute(
        "SELECT coalesce((SELECT block FROM arrivals WHERE block >= ?1 AND latest_ms >= ?2 AND earliest_ms < ?3"
        " ORDER BY block LIMIT 1), (SELECT max(block) + 1 FROM arrivals))",
        (begin >> wide, since_ms, until_ms),
    ).fetchone()[0]
    return begin if noted is None else max(begin, noted << wide)


def last_block(connection: sqlite3.Connection, since_ms: int, until_ms: int, begin: int) -> int | None:
    """Find the last block of `messages_by_time` up to `begin` that may have a message of a window of time; None if none may."""
    wide = BITS - _INDEX_BITS
    first, last = connection.execute("SELECT min(block), max(block) FROM arrivals").fetchone()
    if last is None or begin >> wide > last:
        return begin
    (noted,) = connection.execute(
        "SELECT max(block) FROM arrivals WHERE block <= ? AND latest_ms >= ? AND earliest_ms < ?",
        (begin >> wide, since_ms, until_ms),
    ).fetchone()
    if noted is None:
        return None if begin >> wide >= first else begin
    assert isinstance(noted, int)
    return min(begin, ((noted + 1) << wide) - 1)
