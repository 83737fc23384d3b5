"""Committed steps whose audit lines may not be written yet: each transaction keeps its own until the lines are written.

A process that is killed between a commit and its lines leaves the steps here, in the order of the missing lines.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.core.delivery_events import settled_event
from gateway.core.outcome import Outcome
from gateway.core.records import Accepted, Settlement, Step, Stored
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.counting import Changes

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Step]).decode


def accepted(stored: Sequence[Stored]) -> list[Step]:
    """Return a step for each new message. A duplicate has none, because it changed nothing that a line has to report."""
    return [Step(one.seq) for one in stored if isinstance(one, Accepted)]


def settled(settlements: Sequence[Settlement], in_time: Sequence[bool]) -> list[Step]:
    """Return a step for each settled delivery. One that a person had ended counts only if it was delivered."""
    return [
        _settled(one, late=not held)
        for one, held in zip(settlements, in_time, strict=True)
        if held or one.transition.state == "delivered"
    ]


def note(connection: sqlite3.Connection, steps: Sequence[Step]) -> int:
    """Keep steps, in the transaction that makes them. Returns their mark; 0 if there are none."""
    if not steps:
        return 0
    return connection.execute("INSERT INTO unlogged (steps) VALUES (?)", (_encode(steps),)).lastrowid or 0


def newest(connection: sqlite3.Connection) -> int:
    """Read the mark of the newest kept commit; 0 if none is kept."""
    mark: int = connection.execute("SELECT coalesce(max(id), 0) FROM unlogged").fetchone()[0]
    return mark


def forget(connection: sqlite3.Connection, mark: int) -> None:
    """Drop the steps up to a mark: their lines are written."""
    connection.execute("DELETE FROM unlogged WHERE id <= ?", (mark,))


def forget_one(connection: sqlite3.Connection, mark: int) -> None:
    """Drop the steps of one mark."""
    connection.execute("DELETE FROM unlogged WHERE id = ?", (mark,))


def forget_lives_before(connection: sqlite3.Connection, changes: Changes, *, mark: int) -> None:
    """Drop the steps of earlier lives, which end at a mark: the catch-up has written their lines."""
    forget(connection, mark)


def kept(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, list[Step]]]:
    """Read a page of kept commits: the mark and the steps of each."""
    rows = connection.execute("SELECT id, steps FROM unlogged WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [(mark, _decode(steps)) for mark, steps in rows]


def _settled(settlement: Settlement, *, late: bool) -> Step:
    transition, attempt = settlement.transition, settlement.attempt
    outcome: Outcome | None = attempt.outcome if attempt else None
    return Step(
        settlement.seq,
        settled_event(transition, outcome).name,
        milliseconds(settlement.at),
        settlement.sink,
        attempt.number if attempt else None,
        milliseconds(transition.due_at) if transition.due_at is not None else None,
        transition.reason,
        late,
    )
