"""When the messages of a whole block arrived, so that a list of some hours passes by the blocks that are older.

A block that is not noted is looked into. The bits are those of the SQLite engine, so that both engines have the same pages.
"""

from __future__ import annotations

from typing import Final

from gateway.store.postgres.connection import Connection

BITS: Final = 15
"""The seq without so many bits is the number of a noted block, which has 32,768 messages."""
_INDEX_BITS: Final = 8
"""The same of the blocks of the index `messages_by_time`."""


async def first_block(connection: Connection, since_ms: int, until_ms: int, begin: int) -> int:
    """Find the first block of `messages_by_time` from `begin` on that may have a message of a window of time."""
    wide = BITS - _INDEX_BITS
    noted = await connection.fetchval(
        "SELECT coalesce((SELECT block FROM arrivals WHERE block >= $1 AND latest_ms >= $2 AND earliest_ms < $3"
        " ORDER BY block LIMIT 1), (SELECT max(block) + 1 FROM arrivals))",
        begin >> wide,
        since_ms,
        until_ms,
    )
    return begin if noted is None else max(begin, noted << wide)


async def last_block(connection: Connection, since_ms: int, until_ms: int, begin: int) -> int | None:
    """Find the last block of `messages_by_time` up to `begin` that may have a message of a window of time; None if none may."""
    wide = BITS - _INDEX_BITS
    first, last, noted = await connection.fetchrow(
        "SELECT (SELECT min(block) FROM arrivals), (SELECT max(block) FROM arrivals),"
        " (SELECT max(block) FROM arrivals WHERE block <= $1 AND latest_ms >= $2 AND earliest_ms < $3)",
        begin >> wide,
        since_ms,
        until_ms,
    ) or (0, None, None)
    if last is None or begin >> wide > last:
        return begin
    if noted is None:
        return None if begin >> wide >= first else begin
    return min(begin, ((int(noted) + 1) << wide) - 1)
