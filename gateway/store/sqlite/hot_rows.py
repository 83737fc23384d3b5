"""The rows of the ledger in memory: those that changed and are not flushed yet, and those that were used last, within a bound."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

Key = tuple[str, str]
"""A source and the uuid of a service request."""

MOST_HOT_BYTES: Final = 32 * 1024 * 1024
"""Bytes that the rows in memory take together. Rows that wait to be flushed stay beyond that; `Ledger` bounds them."""
_BYTES_BESIDE_ROW: Final = 450
"""Bytes of a row in memory beside its bytes: its key, its record and its place in a dict (measured with CPython 3.11)."""


class Standing(Struct, frozen=True, gc=False):
    """The row of a service request, as the store keeps it. The garbage collector has nothing to look at."""

    number: int
    last: int
    """The seq of its newest message that the row takes account of."""
    row: bytes
    """A `core.ledger.ServiceRequest`, encoded."""
    reference_id: str | None
    reference: bytes | None
    """The reference id in its folded form."""
    milestone: int | None
    """The column `requests.milestone`."""
    entered_ms: int
    """When its present state began."""
    flags: int
    filed: bool
    """The file had the request, perhaps with an older row, when this row was made."""


class HotRows:
    """Changed only by the writer's thread, after a commit. Other threads may call `unflushed`, and read the sizes."""

    def __init__(self, most_bytes: int = MOST_HOT_BYTES) -> None:
        self.most_bytes = most_bytes
        """Bytes that the rows may take together."""
        self._unflushed: dict[Key, Standing] = {}
        self._flushed: dict[Key, Standing] = {}
        """The row that was flushed least recently comes first, and goes first."""
        self.size = 0
        """Bytes that all rows take, roughly."""
        self.unflushed_size = 0
        """Bytes of those that wait to be flushed."""

    def __len__(self) -> int:
        return len(self._unflushed) + len(self._flushed)

    @property
    def waiting(self) -> int:
        """The number of rows that wait to be flushed."""
        return len(self._unflushed)

    def get(self, key: Key) -> Standing | None:
        return self._unflushed.get(key) or self._flushed.get(key)

    def has_flushed(self, key: Key) -> bool:
        """Return True if the file has the row of a request as memory has it."""
        return key in self._flushed

    def unflushed(self) -> dict[Key, Standing]:
        """Return the rows that the file does not have yet, or has in an older form."""
        return self._unflushed.copy()  # one step for the interpreter, so that the writer cannot change it halfway

    def put(self, key: Key, standing: Standing) -> None:
        """Take a row that a committed transaction changed.

        It replaces the one before in one step: a question that copies the rows meanwhile finds one of the two.
        """
        size = _size(key, standing)
        if (old := self._unflushed.get(key)) is not None:
            before = _size(key, old)
            self.size += size - before
            self.unflushed_size += size - before
        else:
            if (old := self._flushed.pop(key, None)) is not None:
                self.size -= _size(key, old)
            self.size += size
            self.unflushed_size += size
        self._unflushed[key] = standing

    def drop(self, key: Key) -> None:
        """Forget a row."""
        if (old := self._unflushed.pop(key, None)) is not None:
            self.size -= (size := _size(key, old))
            self.unflushed_size -= size
        elif (old := self._flushed.pop(key, None)) is not None:
            self.size -= _size(key, old)

    def flushed(self, key: Key, standing: Standing) -> None:
        """Take note that the file has a row now, unless the row changed again."""
        if self._unflushed.get(key) is standing:
            del self._unflushed[key]
            self._flushed[key] = standing
            self.unflushed_size -= _size(key, standing)

    def make_room(self) -> None:
        """Forget flushed rows until the bound holds, the least recently flushed one first."""
        while self.size > self.most_bytes and self._flushed:
            self.drop(next(iter(self._flushed)))


def _size(key: Key, standing: Standing) -> int:
    return _BYTES_BESIDE_ROW + len(standing.row) + len(key[1]) + 2 * len(standing.reference_id or "")
