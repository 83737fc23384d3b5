"""Databases with a past, written in bulk through the gateway's own schema: what waits, and what is old enough to be purged."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from gateway.core.samples import SAMPLES
from gateway.store.sqlite.migrations import Upgrade, migrate
from tests.benchmarks.measured_gateway import SINKS
from tests.support.waiting import PATIENCE

_BODY = json.dumps({**SAMPLES["counterfeit"], "sr_uuid": "SR"}, separators=(",", ":"))
_DAY_MS = 86_400_000


def build(path: Path, *, messages: int, delivered_days_ago: int | None = None, paused: bool = False) -> None:
    """Write a database in which each message has a delivery for each of SINKS.

    The deliveries wait, in the order of their arrival, unless they were delivered some days ago. `paused` pauses the sinks, so
    that a start delivers nothing yet.
    """
    now = int(time.time() * 1000)
    received = now - messages if delivered_days_ago is None else now - delivered_days_ago * _DAY_MS
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, path, Upgrade())
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(
            "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < :messages)"
            " INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, content_type, event_type, milestone,"
            " sr_uuid, status, body) SELECT n, printf('%032x', n), 'legitmark', CAST(printf('past_%d', n) AS BLOB),"
            " :received + n, :received + n, CAST('application/json' AS BLOB), CAST('state_change' AS BLOB), 'counterfeit',"
            " CAST(printf('sr-%d', n) AS BLOB), 'accepted', CAST(replace(:body, 'SR', printf('sr-%d', n)) AS BLOB) FROM n",
            {"messages": messages, "received": received, "body": _BODY},
        )
        state = "queued" if delivered_days_ago is None else "delivered"
        for sink in SINKS:
            connection.execute(
                "INSERT INTO deliveries (message, sink, state, attempts, since_ms, due_ms, ended_ms)"
                " SELECT seq, :sink, :state, :attempts, received_ms, iif(:state = 'queued', received_ms, NULL),"
                " iif(:state = 'queued', NULL, received_ms) FROM messages",
                {"sink": sink, "state": state, "attempts": int(state == "delivered")},
            )
            connection.execute(f"INSERT INTO counters (sink, {state}) VALUES (?, ?)", (sink, messages))
            if paused:
                connection.execute("INSERT INTO sinks (sink, paused_ms, paused_by) VALUES (?, ?, 'benchmark')", (sink, now))
        if state == "delivered":
            connection.execute(
                "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, status)"
                " SELECT message, sink, 1, since_ms, 5, 'delivered', 200 FROM deliveries"
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with path.open("rb") as written:
        os.fsync(written.fileno())  # otherwise the kernel writes it to the disk in the slices that follow


def old_messages(path: Path) -> int:
    """Count the messages that `build` wrote and nothing has purged yet."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages WHERE id < printf('%032x', 1 << 40)").fetchone()
        return int(count)


def await_purge(path: Path, *, fewer_than: int) -> None:
    """Wait until a gateway has begun to purge the messages that `build` wrote."""
    deadline = time.monotonic() + PATIENCE
    while old_messages(path) >= fewer_than:
        if time.monotonic() > deadline:
            raise TimeoutError("nothing was purged")
        time.sleep(0.1)
