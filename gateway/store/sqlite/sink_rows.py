"""The row of each sink: the state of its lane, its absences from the configuration, and its ordering."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from gateway.core.breaker import BreakerState
from gateway.core.records import KeptGates
from gateway.store.absences import Absences
from gateway.store.columns import milliseconds, milliseconds_or_none, seconds
from gateway.store.counted import Changes


def sync_sinks(
    connection: sqlite3.Connection, changes: Changes, *, sinks: Sequence[str], in_order: Collection[str], now: float
) -> None:
    """Remember which sinks the configuration has, and which of them are ordered."""
    note_absences(connection, changes, present=sinks, now=now)
    note_ordering(connection, changes, in_order=in_order, sinks=sinks)


def note_absences(connection: sqlite3.Connection, changes: Changes, *, present: Sequence[str], now: float) -> None:
    """Stop the ages of deliveries whose sink left the configuration, and let them go on if the name is back.

    `give_up_after` does not count the time for which a sink is absent.
    """
    known = connection.execute("SELECT c.sink, s.absent_ms FROM counters c LEFT JOIN sinks s ON s.sink = c.sink").fetchall()
    for sink, absent_ms in known:
        if sink not in present and absent_ms is None:
            connection.execute(
                "INSERT INTO sinks (sink, absent_ms) VALUES (?, ?)"
                " ON CONFLICT (sink) DO UPDATE SET absent_ms = excluded.absent_ms",
                (sink, milliseconds(now)),
            )
        if sink in present and absent_ms is not None:
            connection.execute(
                "UPDATE sinks SET absent_ms = NULL, away_ms = away_ms + ? WHERE sink = ?",
                (max(milliseconds(now) - absent_ms, 0), sink),
            )


def unordered(connection: sqlite3.Connection, *, in_order: Collection[str], sinks: Collection[str]) -> list[str]:
    """Read which sinks with `ordering = "sr"` the store does not know as ordered yet."""
    known = {sink for (sink,) in connection.execute("SELECT sink FROM sinks WHERE in_order")}
    return sorted(set(in_order) & set(sinks) - known)


def note_ordering(connection: sqlite3.Connection, changes: Changes, *, in_order: Collection[str], sinks: Collection[str]) -> None:
    """Remember which sinks are ordered. A newly ordered sink has to go through `bring_into_order` first."""
    known = {sink for (sink,) in connection.execute("SELECT sink FROM sinks WHERE in_order")}
    for sink in set(in_order) - known:
        connection.execute(
            "INSERT INTO sinks (sink, in_order) VALUES (?, 1) ON CONFLICT (sink) DO UPDATE SET in_order = 1", (sink,)
        )
    for sink in known & set(sinks) - set(in_order):
        connection.execute("UPDATE sinks SET in_order = 0 WHERE sink = ?", (sink,))


def keep_gates(connection: sqlite3.Connection, changes: Changes, *, sink: str, state: KeptGates) -> None:
    """Keep the pause, the breaker and the hold of a lane."""
    breaker = state.breaker
    connection.execute(
        "INSERT INTO sinks (sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sink) DO UPDATE SET paused_ms = excluded.paused_ms, paused_by = excluded.paused_by,"
        " failures = excluded.failures, opened_ms = excluded.opened_ms, probe_ms = excluded.probe_ms, wait_ms = excluded.wait_ms,"
        " held_ms = excluded.held_ms",
        (
            sink,
            milliseconds_or_none(state.paused_at),
            state.paused_by,
            breaker.failures,
            milliseconds_or_none(breaker.opened_at),
            milliseconds_or_none(breaker.probe_at),
            milliseconds(breaker.wait),
            milliseconds_or_none(state.held_until),
        ),
    )


def all_gates(connection: sqlite3.Connection) -> dict[str, KeptGates]:
    """Read the kept gates of each lane."""
    rows = connection.execute("SELECT sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms FROM sinks")
    return {
        sink: KeptGates(seconds(paused), by, BreakerState(failures, seconds(opened), seconds(probe), wait / 1000), seconds(held))
        for sink, paused, by, failures, opened, probe, wait, held in rows
    }


def away_of(connection: sqlite3.Connection, sink: str) -> int:
    """Read the milliseconds by which the deliveries of a sink count as accepted later, because the sink was absent."""
    row = connection.execute("SELECT away_ms FROM sinks WHERE sink = ?", (sink,)).fetchone()
    return row[0] if row else 0


def absences(connection: sqlite3.Connection) -> Absences:
    """Read the absences of all sinks that have any."""
    rows = connection.execute("SELECT sink, away_ms, absent_ms FROM sinks WHERE away_ms <> 0 OR absent_ms IS NOT NULL")
    return Absences({sink: (away_ms, absent_ms) for sink, away_ms, absent_ms in rows.fetchall()})
