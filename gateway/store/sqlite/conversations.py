"""Which thread of a channel belongs to which service request: kept while its events come, and for `retention` after the last."""

from __future__ import annotations

import sqlite3
from functools import partial

from gateway.core.conversation import Thread
from gateway.host.clock import Clock
from gateway.store.sqlite.store import Store
from gateway.store.sqlite.writes import Changes, milliseconds


class SinkThreads:
    """The threads of one sink; what `gateway.sinks.base.Threads` asks for."""

    def __init__(self, store: Store, sink: str, clock: Clock) -> None:
        self._store = store
        self._sink = sink
        self._clock = clock

    async def find(self, channel: str, sr: str) -> Thread | None:
        return await self._store.read(partial(find, sink=self._sink, channel=channel, sr=sr))

    async def keep(self, channel: str, sr: str, thread: Thread) -> None:
        now = self._clock.now()
        await self._store.change(partial(keep, sink=self._sink, channel=channel, sr=sr, thread=thread, now=now))


def find(connection: sqlite3.Connection, *, sink: str, channel: str, sr: str) -> Thread | None:
    row = connection.execute(
        "SELECT place, ts, shown_ms FROM threads WHERE sink = ? AND channel = ? AND sr = ?", (sink, channel, sr.encode())
    ).fetchone()
    return None if row is None else Thread(row[0], row[1], row[2] / 1000)


def keep(
    connection: sqlite3.Connection, changes: Changes, *, sink: str, channel: str, sr: str, thread: Thread, now: float
) -> None:
    """Remember a thread, in place of the one before it."""
    connection.execute(
        "INSERT INTO threads (sink, channel, sr, place, ts, shown_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sink, channel, sr) DO UPDATE SET place = excluded.place, ts = excluded.ts,"
        " shown_ms = excluded.shown_ms, used_ms = excluded.used_ms",
        (sink, channel, sr.encode(), thread.channel, thread.ts, milliseconds(thread.shown_at), milliseconds(now)),
    )
