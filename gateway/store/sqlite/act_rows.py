"""The acts of people in lists: those on deliveries, and those on sinks, the newest first."""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway.core.documents import ActOnDelivery, ActOnSink
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.counting import Changes

MOST_ACTS: Final = 5000
"""Acts on deliveries in one page."""
_MOST_KEPT: Final = 10_000
"""Acts on sinks that are kept."""


def acts_on_deliveries(connection: sqlite3.Connection, before: int | None, limit: int) -> list[ActOnDelivery]:
    """Read a page of the acts on deliveries before an id, at most MOST_ACTS."""
    rows = connection.execute(
        "SELECT id, sink, at_ms, actor, claimed, act FROM acts WHERE id < ifnull(?, 9223372036854775807)"
        " ORDER BY id DESC LIMIT ?",
        (before, min(limit, MOST_ACTS)),
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
) -> None:
    """Keep an act on a sink, and forget those beyond the newest 10,000."""
    row = (milliseconds(now), actor, claimed, act, subject, detail)
    made = connection.execute(
        "INSERT INTO sink_acts (at_ms, actor, claimed, act, subject, detail) VALUES (?, ?, ?, ?, ?, ?)", row
    ).lastrowid
    connection.execute("DELETE FROM sink_acts WHERE id <= ?", ((made or 0) - _MOST_KEPT,))
