"""Building statements that change many rows at once.

Each statement hands Python's lock to the event loop and back, which costs more than a row. Existing rows are changed by an
UPDATE with a join, or as conflicts of an INSERT. SQLite finds each by its key then, whereas an UPDATE of the rows whose
two-column key is in a list reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

_T = TypeVar("_T")
MOST_ROWS = 64
"""Rows of one statement."""
EXISTING = "(?, ?, 'queued', 0, 0)"
"""The values of an existing delivery, for an INSERT that only changes it: message, sink, and the columns that need a value."""


def chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut rows into few parts, at most MOST_ROWS each, whose sizes are few, so that sqlite3 caches the statement of each size.

    The sizes are the numbers with three significant bits: 1 to 8, 10, 12, 14, 16, 20 and so on. Two parts make up any number up
    to MOST_ROWS.
    """
    at = 0
    while at < len(rows):
        left = min(MOST_ROWS, len(rows) - at)
        step = 1 << max(left.bit_length() - 3, 0)
        number = left // step * step
        yield rows[at : at + number]
        at += number


def values_of(rows: Iterable[Iterable[object]]) -> list[object]:
    """Return the values of all rows, one after the other, as a statement binds them."""
    return list(chain.from_iterable(rows))


def marks(number: int, row: str = "(?, ?)") -> str:
    """Return the placeholders of `number` rows in a statement."""
    return ", ".join([row] * number)
