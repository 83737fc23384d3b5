"""Steps that are committed and may not stand in the audit log yet: kept in their transaction until their lines are written.

A process that is killed between a commit and its lines leaves them here, in the order in which the lines would have come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.core.audit_events import settled_event
from gateway.core.outcome import Outcome
from gateway.core.records import Accepted, Settlement, Step, Stored
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.counting import Changes

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Step]).decode


def accepted(stored: Sequence[Stored]) -> list[Step]:
    """The messages that came in; a duplicate changed nothing that a line has to tell again."""
    return [Step(one.seq) for one in stored if isinstance(one, Accepted)]


def settled(settlements: Sequence[Settlement], in_time: Sequence[bool]) -> list[Step]:
    """What became of deliveries. One that a person had ended counts only if it did arrive."""
    return [
        _settled(one, late=not held)
        for one, held in zip(settlements, in_time, strict=True)
        if held or one.transition.state == "delivered"
    ]


def note(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Keep steps in the transaction that makes them."""
    if steps:
        connection.execute("INSERT INTO unlogged (steps) VALUES (?)", (_encode(steps),))


def newest(connection: sqlite3.Connection) -> int:
    """The mark of all that is kept now; 0 where nothing is."""
    mark: int = connection.execute("SELECT coalesce(max(id), 0) FROM unlogged").fetchone()[0]
    return mark


def forget(connection: sqlite3.Connection, mark: int) -> None:
    """Drop what is kept up to a mark: its lines are written."""
    connection.execute("DELETE FROM unlogged WHERE id <= ?", (mark,))


def forget_lives_before(connection: sqlite3.Connection, changes: Changes, *, mark: int) -> None:
    """Drop what is kept up to a mark, in a commit of its own."""
    forget(connection, mark)


def kept(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, list[Step]]]:
    """A page of what is kept: mark and steps."""
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
