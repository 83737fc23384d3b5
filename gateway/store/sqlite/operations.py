"""What a person, or the passing of time, does to deliveries and lanes; run in the writer's transaction, in slices."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence

from gateway.core.records import SinkState, Step
from gateway.core.selection import Target
from gateway.store.sqlite import turns, unlogged
from gateway.store.sqlite.many import EXISTING, chunks, marks, values_of
from gateway.store.sqlite.writes import Changes, absences, find, milliseconds

Place = tuple[int, int]
"""The place of an open delivery that is behind no other one of its sink: due_ms and message."""
BEGINNING: Place = (-(1 << 62), 0)
_QUEUED_ROW = "(?, ?, ?, ?, 'queued')"
_ORDERED_ROW = "(?, ?, ?, ?, ?, ?, ?, 'queued')"


def reopen(
    connection: sqlite3.Connection, targets: Sequence[Target], states: Sequence[str], now: float, changes: Changes
) -> list[Target]:
    """Queue deliveries again that are in one of these states, with a fresh budget; the ones that were."""
    wanted = {(target.seq, target.sink): target for target in targets}
    found = [row for row in find(connection, list(wanted)) if row[3] in states]
    away = absences(connection)
    rows = [
        (seq, sink, away.since(sink, milliseconds(now)), milliseconds(now + wanted[seq, sink].wait)) for seq, sink, *_ in found
    ]
    for part in chunks(rows):
        connection.execute(
            "INSERT INTO deliveries (message, sink, since_ms, due_ms, state) VALUES"
            f" {marks(len(part), _QUEUED_ROW)} ON CONFLICT (message, sink) DO UPDATE SET state = 'queued',"
            " retries = 0, since_ms = excluded.since_ms, due_ms = excluded.due_ms, ended_ms = NULL, reason = NULL, replayed = 1,"
            f" sr = NULL, event_ms = NULL, behind = 0 WHERE deliveries.state IN ({marks(len(states), '?')})",
            [*values_of(part), *states],
        )
    changes.subtract((sink, state) for _, sink, _, state, _ in found)
    changes.update((sink, "queued") for _, sink, *_ in found)
    return [wanted[seq, sink] for seq, sink, *_ in found]


def add(connection: sqlite3.Connection, targets: Sequence[Target], now: float, changes: Changes) -> list[Target]:
    """Make deliveries that do not exist yet, one per message and sink; the ones that were made."""
    wanted = {(target.seq, target.sink): target for target in targets}
    away = absences(connection)
    rows = [
        (seq, sink, away.since(sink, milliseconds(now)), milliseconds(now + target.wait))
        for (seq, sink), target in wanted.items()
    ]
    made: list[tuple[int, str]] = []
    for part in chunks(rows):
        made += connection.execute(
            "INSERT INTO deliveries (message, sink, state, since_ms, due_ms, replayed)"
            " SELECT m.seq, k.column2, 'queued', k.column3, k.column4, 1"  # a message that was purged meanwhile is none any more
            f" FROM (VALUES {marks(len(part), '(?, ?, ?, ?)')}) AS k CROSS JOIN messages m ON m.seq = k.column1 WHERE true"
            " ON CONFLICT DO NOTHING RETURNING message, sink",
            values_of(part),
        ).fetchall()
    for seqs in chunks(sorted({seq for seq, _ in made})):
        connection.execute(
            f"UPDATE messages SET status = 'accepted' WHERE seq IN ({marks(len(seqs), '?')}) AND status <> 'accepted'", seqs
        )
    changes.update((sink, "queued") for _, sink in made)
    return [wanted[key] for key in made]


def add_or_reopen(
    connection: sqlite3.Connection, targets: Sequence[Target], states: Sequence[str], now: float, changes: Changes
) -> list[Target]:
    """Make the deliveries that do not exist, and queue those again that are in one of these states."""
    made = add(connection, targets, now, changes)
    there = set(targets) - set(made)
    return made + reopen(connection, [target for target in targets if target in there], states, now, changes)


def discard(connection: sqlite3.Connection, targets: Sequence[Target], now: float, changes: Changes) -> list[Target]:
    """End deliveries that are queued or dead, by a person's word; the ones that were."""
    wanted = {(target.seq, target.sink): target for target in targets}
    found = [row for row in find(connection, list(wanted)) if row[3] in ("queued", "dead")]
    for part in chunks(found):
        connection.execute(
            f"INSERT INTO deliveries (message, sink, state, since_ms, due_ms) VALUES {marks(len(part), EXISTING)}"
            " ON CONFLICT (message, sink) DO UPDATE SET state = 'discarded', due_ms = NULL, ended_ms = ?"
            " WHERE deliveries.state IN ('queued', 'dead')",
            [*values_of([row[:2] for row in part]), milliseconds(now)],
        )
    changes.subtract((sink, state) for _, sink, _, state, _ in found)
    changes.update((sink, "discarded") for _, sink, *_ in found)
    turns.pass_on(connection, [(sink, sr) for _, sink, _, state, sr in found if state == "queued" and sr is not None])
    return [wanted[seq, sink] for seq, sink, *_ in found]


def with_steps(
    connection: sqlite3.Connection, changes: Changes, *, change: Callable[..., list[Target]], step: Callable[..., Step]
) -> list[Target]:
    """Change deliveries, and keep a step of each one for the audit log in the same transaction."""
    changed = change(connection, changes=changes)
    unlogged.note(connection, [step(seq=one.seq, sink=one.sink) for one in changed])
    return changed


def sync_sinks(
    connection: sqlite3.Connection, changes: Changes, *, sinks: Sequence[str], in_order: Collection[str], now: float
) -> None:
    """Remember which sinks there are, and which of them are in order."""
    note_absences(connection, changes, present=sinks, now=now)
    note_ordering(connection, changes, in_order=in_order, sinks=sinks)


def note_absences(connection: sqlite3.Connection, changes: Changes, *, present: Sequence[str], now: float) -> None:
    """Stop the time of deliveries whose sink left the configuration, and let it go on where the name is back.

    `give_up_after` does not count while there is no such sink.
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
    """Which sinks with `ordering = "sr"` the store does not have in order yet."""
    known = {sink for (sink,) in connection.execute("SELECT sink FROM sinks WHERE in_order")}
    return sorted(set(in_order) & set(sinks) - known)


def note_ordering(connection: sqlite3.Connection, changes: Changes, *, in_order: Collection[str], sinks: Collection[str]) -> None:
    """Remember which sinks are in order. One that is to be put in order has to go through `bring_into_order` before."""
    known = {sink for (sink,) in connection.execute("SELECT sink FROM sinks WHERE in_order")}
    for sink in set(in_order) - known:
        connection.execute(
            "INSERT INTO sinks (sink, in_order) VALUES (?, 1) ON CONFLICT (sink) DO UPDATE SET in_order = 1", (sink,)
        )
    for sink in known & set(sinks) - set(in_order):
        connection.execute("UPDATE sinks SET in_order = 0 WHERE sink = ?", (sink,))


def bring_into_order(connection: sqlite3.Connection, changes: Changes, *, sink: str, after: Place, size: int) -> Place | None:
    """Give a place in the order of their service requests to those of the next `size` open deliveries that have none.

    Args:
        after: the place to go on after; BEGINNING begins.
    Returns the place to go on after; None at the end. It may be run again from the beginning at any time. One that is tried
    meanwhile is not passed over: its next attempt is due later than all that was due before.
    """
    rows = connection.execute(
        "SELECT d.due_ms, d.message, d.sr IS NULL AND NOT d.replayed, nullif(m.sr_uuid, x''), m.event_ms"
        " FROM deliveries d INDEXED BY deliveries_due CROSS JOIN messages m ON m.seq = d.message WHERE d.sink = ?"
        " AND d.state = 'queued' AND d.behind = 0 AND (d.due_ms, d.message) > (?, ?) ORDER BY d.due_ms, d.message LIMIT ?",
        (sink, *after, size),
    ).fetchall()
    new = [(seq, sink, 0, due_ms, sr, event_ms, 0) for due_ms, seq, without, sr, event_ms in rows if without and sr is not None]
    for part in chunks(turns.take(connection, new)):
        connection.execute(
            "INSERT INTO deliveries (message, sink, since_ms, due_ms, sr, event_ms, behind, state) VALUES"
            f" {marks(len(part), _ORDERED_ROW)} ON CONFLICT (message, sink) DO UPDATE SET"
            " sr = excluded.sr, event_ms = excluded.event_ms, behind = excluded.behind"
            " WHERE deliveries.state = 'queued' AND deliveries.sr IS NULL",
            values_of(part),
        )
    return (rows[-1][0], rows[-1][1]) if len(rows) == size else None


def keep_sink(connection: sqlite3.Connection, changes: Changes, *, sink: str, state: SinkState) -> None:
    """Remember a lane's pause, breaker and hold."""
    breaker = state.breaker
    connection.execute(
        "INSERT INTO sinks (sink, paused_ms, paused_by, failures, opened_ms, probe_ms, wait_ms, held_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sink) DO UPDATE SET paused_ms = excluded.paused_ms, paused_by = excluded.paused_by,"
        " failures = excluded.failures, opened_ms = excluded.opened_ms, probe_ms = excluded.probe_ms, wait_ms = excluded.wait_ms,"
        " held_ms = excluded.held_ms",
        (
            sink,
            _milliseconds(state.paused_at),
            state.paused_by,
            breaker.failures,
            _milliseconds(breaker.opened_at),
            _milliseconds(breaker.probe_at),
            milliseconds(breaker.wait),
            _milliseconds(state.held_until),
        ),
    )


def touch(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write a page and change nothing: to see whether the disk takes it."""
    connection.execute("UPDATE sqlite_sequence SET seq = seq WHERE name = 'messages'")


def nothing(connection: sqlite3.Connection, changes: Changes) -> None:
    """Change nothing: every commit forgets the steps whose lines are written."""


def keep_time(connection: sqlite3.Connection, changes: Changes, *, jumped_ms: int, seen: float) -> None:
    """Remember how far the wall clock has jumped in all, and what it says now."""
    connection.execute("UPDATE timeline SET jumped_ms = ?, seen_ms = ?", (jumped_ms, milliseconds(seen)))


def clamp_due(connection: sqlite3.Connection, changes: Changes, *, sink: str, latest: float, size: int) -> int:
    """Bring up to `size` due times beyond `latest` back to it: no wait is longer than the longest back-off.

    Returns how many there were.
    """
    late = 0
    for behind in (0, 1):
        late += connection.execute(
            "UPDATE deliveries SET due_ms = ?3 WHERE sink = ?1 AND state = 'queued' AND message IN"
            " (SELECT message FROM deliveries INDEXED BY deliveries_due"
            " WHERE sink = ?1 AND state = 'queued' AND behind = ?2 AND due_ms > ?3 LIMIT ?4)",
            (sink, behind, milliseconds(latest), size - late),
        ).rowcount
    return late


def mend_counters(connection: sqlite3.Connection, changes: Changes, *, sink: str, by: Mapping[str, int]) -> None:
    """Add to a sink's counters, by state, what a count found them to be short of."""
    for state, number in by.items():
        changes[sink, state] += number


def _milliseconds(instant: float | None) -> int | None:
    return None if instant is None else milliseconds(instant)
