"""The conversations of sinks, kept while their events come, and for `retention` after the last one."""

from __future__ import annotations

import sqlite3

from gateway.core.conversation import Conversation
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes


def find(connection: sqlite3.Connection, *, sink: str, channel: str, sr: str) -> Conversation | None:
    """Read the conversation of a service request; None if there is none."""
    row = connection.execute(
        "SELECT place, ts, shown_ms FROM threads WHERE sink = ? AND channel = ? AND sr = ?", (sink, channel, sr.encode())
    ).fetchone()
    return None if row is None else Conversation(row[0], row[1], row[2] / 1000)


def keep(
    connection: sqlite3.Connection, changes: Changes, *, sink: str, channel: str, sr: str, conversation: Conversation, now: float
) -> None:
    """Keep a conversation, in place of the one before it."""
    connection.execute(
        "INSERT INTO threads (sink, channel, sr, place, ts, shown_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sink, channel, sr) DO UPDATE SET place = excluded.place, ts = excluded.ts,"
        " shown_ms = excluded.shown_ms, used_ms = excluded.used_ms",
        (
            sink,
            channel,
            sr.encode(),
            conversation.channel,
            conversation.ts,
            milliseconds(conversation.shown_at),
            milliseconds(now),
        ),
    )
