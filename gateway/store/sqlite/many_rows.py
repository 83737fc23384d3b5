"""Building statements that change many rows at once.

Each statement hands Python's lock to the event loop and back, which costs more than a row. Existing rows are changed by an
UPDATE with a join, or as conflicts of an INSERT. SQLite finds each by its key then, whereas an UPDATE of the rows whose
two-column key is in a list reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")
MOST_ROWS = 64
"""Rows of one statement."""
EXISTING = "(?, ?, 'queued', 0, 0)"
"""The values of an existing delivery, for an INSERT that only changes it: message, sink, and the columns that need a value."""


def chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut rows into parts whose sizes are powers of two, at most MOST_ROWS: sqlite3 then caches all of the few statements."""
    at = 0
    while at < len(rows):
        number = min(MOST_ROWS, 1 << (len(rows) - at).bit_length() - 1)
        yield rows[at : at + number]
        at += number


def values_of(rows: Sequence[Sequence[object]]) -> list[object]:
    """Return the values of all rows, one after the other, as a statement binds them."""
    return [value for row in rows for value in row]


def marks(number: int, row: str = "(?, ?)") -> str:
    """Return the placeholders of `number` rows in a statement."""
    return ", ".join([row] * number)
