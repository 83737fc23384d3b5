"""The row of each sink: the state of its lane, its absences from the configuration, and its ordering."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.breaker import BreakerState
from gateway.core.records import KeptGates
from gateway.store.absences import Absences
from gateway.store.columns import milliseconds, milliseconds_or_none, seconds
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection


async def sync_sinks(
    connection: Connection, changes: Changes, *, sinks: Sequence[str], in_order: Collection[str], now: float
) -> None:
    """Remember which sinks the configuration has, and which of them are ordered."""
    await note_absences(connection, present=sinks, now=now)
    await note_ordering(connection, in_order=in_order, sinks=sinks)


async def note_absences(connection: Connection, *, present: Sequence[str], now: float) -> None:
    """Stop the ages of deliveries whose sink left the configuration, and let them go on if the name is back.

    `give_up_after` does not count the time for which a sink is absent.
    """
    known = await connection.fetch(
        "SELECT c.sink, s.absent_ms FROM (SELECT DISTINCT sink FROM counters) AS c LEFT JOIN sinks s ON s.sink = c.sink"
        " ORDER BY c.sink"
    )
    for sink, absent_ms in known:
        if sink not in present and absent_ms is None:
            await connection.execute(
                "INSERT INTO sinks (sink, absent_ms) VALUES ($1, $2)"
                " ON CONFLICT (sink) DO UPDATE SET absent_ms = excluded.absent_ms",
                sink,
                milliseconds(now),
            )
        if sink in present and absent_ms is not None:
            await connection.execute(
                "UPDATE sinks SET absent_ms = NULL, away_ms = away_ms + greatest($2 - absent_ms, 0)"
                " WHERE sink = $1 AND absent_ms IS NOT NULL",
                sink,
                milliseconds(now),
            )


async def unordered(connection: Connection, *, in_order: Collection[str], sinks: Collection[str]) -> list[str]:
    """Read which sinks with `ordering = "sr"` the store does not know as ordered yet."""
    return sorted(set(in_order) & set(sinks) - await _ordered(connection))


async def note_ordering(connection: Connection, *, in_order: Collection[str], sinks: Collection[str]) -> None:
    """Remember which sinks are ordered. A newly ordered sink has to go through `bring_into_order` first."""
    known = await _ordered(connection)
    for sink in sorted(set(in_order) - known):
        await connection.execute(
            "INSERT INTO sinks (sink, in_order) VALUES ($1, true) ON CONFLICT (sink) DO UPDATE SET in_order = true", sink
        )
    gone = sorted(known & set(sinks) - set(in_order))
    await connection.execute("UPDATE sinks SET in_order = false WHERE sink = ANY($1::text[])", gone)


async def keep_gates(connection: Connection, changes: Changes, *, sink: str, state: KeptGates) -> None:
    """Keep the pause, the breaker and the hold of a lane."""
    breaker = state.breaker
    await connection.execute(
        "INSERT INTO sinks (sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " ON CONFLICT (sink) DO UPDATE SET paused_ms = excluded.paused_ms, paused_by = excluded.paused_by,"
        " failures = excluded.failures, opened_ms = excluded.opened_ms, probe_ms = excluded.probe_ms, wait_ms = excluded.wait_ms,"
        " held_ms = excluded.held_ms",
        sink,
        milliseconds_or_none(state.paused_at),
        state.paused_by,
        breaker.failures,
        milliseconds_or_none(breaker.opened_at),
        milliseconds_or_none(breaker.probe_at),
        milliseconds(breaker.wait),
        milliseconds_or_none(state.held_until),
    )


async def all_gates(connection: Connection) -> dict[str, KeptGates]:
    """Read the kept gates of each lane."""
    rows = await connection.fetch("SELECT sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms FROM sinks")
    return {
        sink: KeptGates(seconds(paused), by, BreakerState(failures, seconds(opened), seconds(probe), wait / 1000), seconds(held))
        for sink, paused, by, failures, opened, probe, wait, held in rows
    }


async def away_of(connection: Connection, sink: str) -> int:
    """Read the milliseconds by which the deliveries of a sink count as accepted later, because the sink was absent."""
    return int(await connection.fetchval("SELECT away_ms FROM sinks WHERE sink = $1", sink) or 0)


async def absences(connection: Connection) -> Absences:
    """Read the absences of all sinks that have any."""
    rows = await connection.fetch("SELECT sink, away_ms, absent_ms FROM sinks WHERE away_ms <> 0 OR absent_ms IS NOT NULL")
    return Absences({sink: (away_ms, absent_ms) for sink, away_ms, absent_ms in rows})


async def _ordered(connection: Connection) -> set[str]:
    return {row[0] for row in await connection.fetch("SELECT sink FROM sinks WHERE in_order")}
