"""The conversations of sinks, kept while their events come, and for `retention` after the last one."""

from __future__ import annotations

from gateway.core.conversation import Conversation
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection


async def find(connection: Connection, *, sink: str, channel: str, sr: str) -> Conversation | None:
    """Read the conversation of a service request; None if there is none."""
    row = await connection.fetchrow(
        "SELECT place, ts, shown_ms FROM threads WHERE sink = $1 AND channel = $2 AND sr = $3", sink, channel, sr.encode()
    )
    return None if row is None else Conversation(row[0], row[1], row[2] / 1000)


async def keep(
    connection: Connection, changes: Changes, *, sink: str, channel: str, sr: str, conversation: Conversation, now: float
) -> None:
    """Keep a conversation, in place of the one before it."""
    await connection.execute(
        "INSERT INTO threads (sink, channel, sr, place, ts, shown_ms, used_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (sink, channel, sr) DO UPDATE SET place = excluded.place, ts = excluded.ts,"
        " shown_ms = excluded.shown_ms, used_ms = excluded.used_ms",
        sink,
        channel,
        sr.encode(),
        conversation.channel,
        conversation.ts,
        milliseconds(conversation.shown_at),
        milliseconds(now),
    )
