"""Changes of deliveries at a person's word or by the passing of time, inside the writer's transaction, in slices."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from gateway.core.records import Step
from gateway.core.selection import Act, Target
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.sqlite import ordering, unlogged
from gateway.store.sqlite.accept_settle import find
from gateway.store.sqlite.many_rows import EXISTING, chunks, marks, values_of
from gateway.store.sqlite.sink_rows import absences

_QUEUED_ROW = "(?, ?, ?, ?, 'queued')"


def reopen(
    connection: sqlite3.Connection, targets: Sequence[Target], states: Sequence[str], now: float, changes: Changes
) -> list[Target]:
    """Queue deliveries again that are in one of these states, with a fresh budget. Returns the changed ones."""
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
    """Make deliveries that do not exist yet, one per message and sink. Returns the new ones."""
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
            " SELECT m.seq, k.column2, 'queued', k.column3, k.column4, 1"  # a message that was purged meanwhile gets no delivery
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
    """Make the deliveries that do not exist, and queue those again that are in one of these states. Returns the changed ones."""
    made = add(connection, targets, now, changes)
    there = set(targets) - set(made)
    return made + reopen(connection, [target for target in targets if target in there], states, now, changes)


def discard(connection: sqlite3.Connection, targets: Sequence[Target], now: float, changes: Changes) -> list[Target]:
    """End deliveries that are queued or dead, at a person's word. Returns the changed ones."""
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
    ordering.pass_on(connection, [(sink, sr) for _, sink, _, state, sr in found if state == "queued" and sr is not None])
    return [wanted[seq, sink] for seq, sink, *_ in found]


def by_person(
    connection: sqlite3.Connection,
    changes: Changes,
    *,
    targets: Sequence[Target],
    change: Callable[..., list[Target]],
    step: Callable[..., Step],
    act: Act,
) -> list[Target]:
    """Change deliveries; keep the act, and a step for the audit log, of each changed one in the same transaction."""
    was = {(seq, sink): state for seq, sink, _, state, _ in find(connection, [(one.seq, one.sink) for one in targets])}
    changed = change(connection, targets=targets, changes=changes)
    steps = [step(seq=one.seq, sink=one.sink) for one in changed]
    unlogged.note(connection, steps)
    becomes = "queued" if act == "replay" else "discarded"
    rows = [(one.seq, one.sink, one.at_ms, one.actor, one.claimed, act, was.get((one.seq, one.sink)), becomes) for one in steps]
    for part in chunks(rows):
        connection.execute(
            "INSERT INTO acts (message, sink, at_ms, actor, claimed, act, was, becomes) VALUES"
            f" {marks(len(part), '(?, ?, ?, ?, ?, ?, ?, ?)')}",
            values_of(part),
        )
    return changed


def touch(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write a page and change nothing that is kept, to see whether the disk takes it."""
    # SQLite writes no page whose bytes stay as they are: an UPDATE to the same value would try nothing.
    unlogged.forget_one(connection, unlogged.note(connection, [Step(0)]))


def nothing(connection: sqlite3.Connection, changes: Changes) -> None:
    """Change nothing: a commit that holds only this still forgets the steps whose lines are written."""


def clamp_due(connection: sqlite3.Connection, changes: Changes, *, sink: str, latest: float, size: int) -> int:
    """Bring up to `size` due times beyond `latest` back to it: no delivery waits longer than the longest backoff.

    Returns the number of changed deliveries.
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
