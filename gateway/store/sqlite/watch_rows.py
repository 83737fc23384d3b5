"""The rows of what the gateway watches over time: the timers of service requests, troubles that last, and words that are known.

`keep` runs in the transaction of the event that tells about it, so that a crash neither loses nor doubles a telling. Instants are
in the store's own time here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from gateway.core.drift import MOST_KNOWN, DriftKind, Learned
from gateway.core.lasting import Lasting
from gateway.core.records import Companion
from gateway.core.watches import SETTLE, Entered, Entering, StallsTold, Timer, Watch
from gateway.store.columns import blob, milliseconds, text
from gateway.store.counted import Changes
from gateway.store.sqlite.many_rows import chunks, marks, values_of
from gateway.store.timer_rows import (
    TIMER_COLUMNS,
    ForeignTimer,
    TimerKey,
    foreign,
    in_order_of_entering,
    timer_of,
    timer_row,
    told_row,
)


def keep(connection: sqlite3.Connection, companions: Iterable[Companion]) -> None:
    """Write what is committed together with messages, in the order of the messages."""
    for one in in_order_of_entering(companions):
        match one:
            case list():
                _enter(connection, one)
            case StallsTold():
                _told(connection, one)
            case Lasting():
                _last(connection, one)
            case Learned():
                _learn(connection, one)


def keep_alone(connection: sqlite3.Connection, changes: Changes, *, companions: Sequence[Companion]) -> None:
    """Write the same without a message, if no route asks for the event."""
    keep(connection, companions)


def due_timers(connection: sqlite3.Connection, watches: Sequence[Watch], now: float, limit: int) -> list[Timer]:
    """Read at most `limit` timers that are due, those of one rule after those of another, the oldest first."""
    found: list[Timer] = []
    for watch in watches:
        rows = connection.execute(
            f"SELECT {TIMER_COLUMNS} FROM watch_timers WHERE rule = ? AND told_ms IS NULL AND entered_ms <= ?"
            " AND arrived_ms <= ? ORDER BY entered_ms LIMIT ?",
            (watch.name, milliseconds(now - watch.after), milliseconds(now - SETTLE), limit - len(found)),
        ).fetchall()
        if watch.again is not None and len(found) + len(rows) < limit:
            rows += connection.execute(
                f"SELECT {TIMER_COLUMNS} FROM watch_timers WHERE rule = ? AND told_ms IS NOT NULL AND told_ms <= ?"
                " ORDER BY told_ms LIMIT ?",
                (watch.name, milliseconds(now - watch.again), limit - len(found) - len(rows)),
            ).fetchall()
        found += [timer_of(row) for row in rows]
        if len(found) >= limit:
            break
    return found


def stalled(connection: sqlite3.Connection, watches: Sequence[Watch], most: int) -> dict[str, int]:
    """Count by rule the service requests that people were told about and that are still in their state, each up to `most`."""
    count = "SELECT count(*) FROM (SELECT 1 FROM watch_timers WHERE rule = ? AND told_ms IS NOT NULL LIMIT ?)"
    return {watch.name: connection.execute(count, (watch.name, most)).fetchone()[0] for watch in watches}


def foreign_timers(
    connection: sqlite3.Connection, watches: Mapping[str, Watch], after: TimerKey, size: int
) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Look at the next `size` timers in the order of their keys, and find those of rules that are gone or watch other states.

    Returns what `drop` takes, and the key to go on after; None at the end.
    """
    rows, go_on = timers_after(connection, after, size)
    return foreign(rows, watches), go_on


def timers_after(connection: sqlite3.Connection, after: TimerKey, size: int) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Read the next `size` timers in the order of their keys, and the key to go on after; None at the end."""
    rows: list[ForeignTimer] = connection.execute(
        "SELECT source, sr, rule, state, entered_ms FROM watch_timers WHERE (source, sr, rule) > (?, ?, ?)"
        " ORDER BY source, sr, rule LIMIT ?",
        (*after, size),
    ).fetchall()
    return rows, rows[-1][:3] if len(rows) == size else None


def begin_missing(connection: sqlite3.Connection, entered: Sequence[tuple[Entered, str]]) -> int:
    """Begin timers of some rules, each unless the service request has one of the rule. Returns how many began."""
    before = connection.total_changes
    for part in chunks([timer_row(one, rule) for one, rule in entered]):
        connection.execute(
            f"INSERT INTO watch_timers ({TIMER_COLUMNS}) VALUES {marks(len(part), '(?, ?, ?, ?, ?, ?, ?, NULL)')}"
            " ON CONFLICT DO NOTHING",
            values_of(part),
        )
    return connection.total_changes - before


def drop(connection: sqlite3.Connection, changes: Changes, *, timers: Sequence[ForeignTimer]) -> None:
    """Delete some timers, unless their service requests entered another state meanwhile."""
    connection.executemany(
        "DELETE FROM watch_timers WHERE source = ? AND sr = ? AND rule = ? AND state = ? AND entered_ms = ?", timers
    )


def purge_told(connection: sqlite3.Connection, changes: Changes, *, rules: Collection[str], before: float, size: int) -> int:
    """Delete at most `size` timers of some rules that were told before an instant. Returns how many."""
    gone: list[TimerKey] = []
    for rule in sorted(rules):
        gone += connection.execute(
            "SELECT source, sr, rule FROM watch_timers WHERE rule = ? AND told_ms IS NOT NULL AND told_ms < ? LIMIT ?",
            (rule, milliseconds(before), size - len(gone)),
        ).fetchall()
    connection.executemany("DELETE FROM watch_timers WHERE source = ? AND sr = ? AND rule = ?", gone)
    return len(gone)


def all_lasting(connection: sqlite3.Connection) -> list[Lasting]:
    """Read every trouble that is remembered."""
    rows = connection.execute("SELECT kind, subject, elapsed_ms, told FROM lasting").fetchall()
    return [Lasting(kind, subject, elapsed_ms / 1000, bool(told)) for kind, subject, elapsed_ms, told in rows]


def known_words(connection: sqlite3.Connection) -> dict[tuple[str, DriftKind], set[str]]:
    """Read the words that are known, by source and kind."""
    found: dict[tuple[str, DriftKind], set[str]] = {}
    for source, kind, value in connection.execute("SELECT source, kind, value FROM known_words"):
        found.setdefault((source, kind), set()).add(text(value) or "")
    return found


def words_learned(connection: sqlite3.Connection, since: float, most: int) -> list[float]:
    """Read when the newest words became known, those since an instant and at most `most`; the oldest of them first."""
    newest = "SELECT seen_ms FROM known_words WHERE seen_ms > ? ORDER BY seen_ms DESC LIMIT ?"
    return [seen_ms / 1000 for (seen_ms,) in connection.execute(newest, (milliseconds(since), most))][::-1]


def _enter(connection: sqlite3.Connection, entered: Sequence[Entering]) -> None:
    """End the timers of some service requests, and begin those of their new states."""
    # One statement with a list of two-column keys would read the whole table.
    requests = [(one.entered.source, blob(one.entered.sr_uuid)) for one in entered]
    connection.executemany("DELETE FROM watch_timers WHERE source = ? AND sr = ?", requests)
    rows = [timer_row(entering.entered, rule) for entering in entered for rule in entering.rules]
    for part in chunks(rows):
        connection.execute(
            f"INSERT INTO watch_timers ({TIMER_COLUMNS}) VALUES {marks(len(part), '(?, ?, ?, ?, ?, ?, ?, NULL)')}",
            values_of(part),
        )


def _told(connection: sqlite3.Connection, told: StallsTold) -> None:
    """Note the telling of some timers. One that ended, or began anew, meanwhile stays as it is."""
    for part in chunks([told_row(timer) for timer in told.timers]):
        connection.execute(
            f"UPDATE watch_timers SET told_ms = ? FROM (VALUES {marks(len(part), '(?, ?, ?, ?, ?)')}) AS t"
            " WHERE source = t.column1 AND sr = t.column2 AND rule = t.column3 AND entered_ms = t.column4"
            " AND told_ms IS t.column5",
            [milliseconds(told.at), *values_of(part)],
        )


def _last(connection: sqlite3.Connection, one: Lasting) -> None:
    """Remember how long a trouble has lasted, or forget it once it is over."""
    if not one.begun:
        connection.execute("DELETE FROM lasting WHERE kind = ? AND subject = ?", (one.kind, one.subject))
        return
    connection.execute(
        "INSERT INTO lasting (kind, subject, elapsed_ms, told) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, subject) DO UPDATE SET elapsed_ms = excluded.elapsed_ms, told = excluded.told",
        (one.kind, one.subject, milliseconds(one.elapsed), int(one.told)),
    )


def _learn(connection: sqlite3.Connection, one: Learned) -> None:
    """Remember a word, unless as many are remembered as may be."""
    connection.execute(
        "INSERT INTO known_words (source, kind, value, seen_ms) SELECT ?1, ?2, ?3, ?4 WHERE"
        " (SELECT count(*) FROM known_words WHERE source = ?1 AND kind = ?2) < ?5 ON CONFLICT DO NOTHING",
        (one.source, one.kind, blob(one.value), milliseconds(one.at), MOST_KNOWN),
    )
