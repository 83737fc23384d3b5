"""Turning rows into the arrays of columns that `unnest` takes: one statement writes any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def columns_of(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Return the columns of rows, `width` of them."""
    return [[row[at] for row in rows] for at in range(width)]


def number_of(status: str) -> int:
    """Return how many rows a statement changed, from its command tag: `UPDATE 3`."""
    return int(status.rpartition(" ")[2])
