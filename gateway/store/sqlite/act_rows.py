"""The acts of people in lists: those on deliveries, and those on sinks, the newest first."""

from __future__ import annotations

import sqlite3

from gateway.core.documents import ActOnDelivery, ActOnSink
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes


def acts_on_deliveries(connection: sqlite3.Connection, before: int | None, limit: int) -> list[ActOnDelivery]:
    """Read a page of the acts on deliveries before an id, at most `bounds.MOST_ACTS`."""
    rows = connection.execute(
        "SELECT id, sink, at_ms, actor, claimed, act FROM acts WHERE id < ifnull(?, 9223372036854775807)"
        " ORDER BY id DESC LIMIT ?",
        (before, min(limit, bounds.MOST_ACTS)),
    )
    return [ActOnDelivery(id, sink, at_ms / 1000, actor, claimed, act) for id, sink, at_ms, actor, claimed, act in rows]


def acts_on_sinks(connection: sqlite3.Connection, before: int | None, limit: int) -> list[ActOnSink]:
    """Read a page of the acts on sinks before an id."""
    rows = connection.execute(
        "SELECT id, at_ms, actor, claimed, act, subject, detail FROM sink_acts WHERE id < ifnull(?, 9223372036854775807)"
        " ORDER BY id DESC LIMIT ?",
        (before, limit),
    )
    return [ActOnSink(id, at_ms / 1000, *row) for id, at_ms, *row in rows]


def keep_act(
    connection: sqlite3.Connection,
    changes: Changes,
    *,
    act: str,
    subject: str,
    now: float,
    actor: str,
    claimed: str | None,
    detail: str,
) -> int:
    """Keep an act on a sink, and forget those beyond the newest 10,000. Return its id."""
    row = (milliseconds(now), actor, claimed, act, subject, detail)
    query = "INSERT INTO sink_acts (at_ms, actor, claimed, act, subject, detail) VALUES (?, ?, ?, ?, ?, ?)"
    made = connection.execute(query, row).lastrowid or 0
    connection.execute("DELETE FROM sink_acts WHERE id <= ?", (made - bounds.MOST_SINK_ACTS,))
    return made


def end_act(connection: sqlite3.Connection, changes: Changes, *, id: int, detail: str) -> None:
    """Write down what came of an act; nothing happens if it is no longer kept."""
    connection.execute("UPDATE sink_acts SET detail = ? WHERE id = ?", (detail, id))
