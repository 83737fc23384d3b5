"""Statements that change many rows at once: each hands Python's lock to the event loop and back, which costs more than a row.

Rows that are there are changed as conflicts of an INSERT: SQLite finds each by its key, where an UPDATE with a list of keys of
two columns reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")
MOST_ROWS = 64
"""Rows of one statement."""
EXISTING = "(?, ?, 'queued', 0, 0)"
"""A delivery that is there, for an INSERT that only changes it: message, sink, and what every row has to have."""


def chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut rows into parts of powers of two, MOST_ROWS at most: few different statements, which SQLite knows already."""
    at = 0
    while at < len(rows):
        number = min(MOST_ROWS, 1 << (len(rows) - at).bit_length() - 1)
        yield rows[at : at + number]
        at += number


def values_of(rows: Sequence[Sequence[object]]) -> list[object]:
    """The values of all rows, one after the other, as a statement binds them."""
    return [value for row in rows for value in row]


def marks(number: int, row: str = "(?, ?)") -> str:
    """The places of `number` rows in a statement."""
    return ", ".join([row] * number)
