"""The rows of the ledger in memory: those that changed and are not flushed yet, and those that were used last, within a bound."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from gateway.core.events import Milestone
from gateway.core.ledger import ServiceRequest, decode_request
from gateway.core.references import folded

Key = tuple[str, str]
"""A source and the uuid of a service request."""

MOST_HOT_BYTES: Final = 14 * 1024 * 1024
"""Bytes that the rows in memory take together. Rows that wait to be flushed stay beyond that; `Ledger` bounds them."""
MILESTONES: Final = tuple(Milestone)
"""The milestones in the order of the column `milestone`, which counts from 1."""
CODES: Final[dict[Milestone | None, int]] = {None: 0} | {milestone: code for code, milestone in enumerate(MILESTONES, 1)}
"""A milestone as the column keeps it."""
_INVALIDATED: Final = Milestone.INVALIDATED
_BYTES_BESIDE_ROW: Final = 340
"""Bytes of a row in memory beside its bytes and its reference id: its key, its record and its place in a dict (measured with
CPython 3.11)."""


class Columns(NamedTuple):
    """The columns of `standings` by which lists choose and order rows."""

    milestone: int | None
    """Its code; if only events of the gateway itself have named the request, it is None, and no list shows the request."""
    entered_ms: int
    """When its present state began."""
    flags: int


class Standing(Struct, gc=False):
    """The row of a service request, as the store keeps it. Nothing of it changes but `filed`, and what `columns` remembers.

    The garbage collector has nothing to look at.
    """

    number: int
    last: int
    """The seq of its newest message that the row takes account of."""
    row: bytes
    """A `core.ledger.ServiceRequest`, encoded: rows are many, and take twice as much memory when they are decoded."""
    reference_id: str | None
    own: bool
    """Only events of the gateway itself have named it."""
    filed: bool
    """The file has the request, perhaps with an older row. False: it may have it. Only the writer's thread asks."""
    _milestone: int | None = None
    _entered_ms: int | None = None
    """Known once somebody has asked for `columns`: most rows change again before they are flushed."""
    _flags: int = 0

    @property
    def request(self) -> ServiceRequest:
        return decode_request(self.row)

    @property
    def columns(self) -> Columns:
        return self._columns(self.request) if self._entered_ms is None else self._columns_known(self._entered_ms)

    def decoded(self) -> tuple[ServiceRequest, Columns]:
        """Return the row, with `columns`: a flush writes both, and to decode a row is a tenth of its work."""
        request = self.request
        return request, self._columns(request) if self._entered_ms is None else self._columns_known(self._entered_ms)

    def _columns(self, request: ServiceRequest) -> Columns:
        milestone = request.milestone
        entered = request.invalidated_at_ms if milestone is _INVALIDATED else request.state_at_ms
        self._milestone, self._flags = None if self.own else CODES[milestone], request.flag_bits
        self._entered_ms = request.last_seen_ms if entered is None else entered
        return self._columns_known(self._entered_ms)

    def _columns_known(self, entered_ms: int) -> Columns:
        return Columns(self._milestone, entered_ms, self._flags)

    @property
    def reference(self) -> bytes | None:
        """The reference id in its folded form."""
        return None if self.reference_id is None else folded(self.reference_id)


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

    def get_each(self, keys: Collection[Key | None]) -> list[Standing | None]:
        """Return a row or None for each key, as `get` does; None for None."""
        unflushed, flushed = self._unflushed.get, self._flushed.get
        return [None if key is None else unflushed(key) or flushed(key) for key in keys]

    def unflushed(self) -> dict[Key, Standing]:
        """Return the rows that the file does not have yet, or has in an older form."""
        return self._unflushed.copy()  # one step for the interpreter, so that the writer cannot change it halfway

    def to_flush(self) -> list[Key]:
        """Return the keys of the rows that wait to be flushed, the one with the greatest number first."""
        rows = self._unflushed
        return sorted(rows, key=lambda key: rows[key].number, reverse=True)

    def put(self, rows: Mapping[Key, Standing | None]) -> None:
        """Take the rows that a committed transaction changed; None: the request is forgotten.

        Each replaces the one before in one step: a question that copies the rows meanwhile finds one of the two.
        """
        unflushed, grown = self._unflushed, 0
        for key, standing in rows.items():
            if standing is None:
                self.drop(key)
                continue
            if (old := unflushed.get(key)) is None:
                if (flushed := self._flushed.pop(key, None)) is not None:
                    self.size -= _size(key, flushed)
                grown += _size(key, standing)
            else:
                grown += len(standing.row) - len(old.row)
                if standing.reference_id is not old.reference_id:
                    grown += _size_of_reference(standing) - _size_of_reference(old)
            unflushed[key] = standing
        self.size += grown
        self.unflushed_size += grown

    def drop(self, key: Key) -> None:
        """Forget a row."""
        if (old := self._unflushed.pop(key, None)) is not None:
            self.size -= (size := _size(key, old))
            self.unflushed_size -= size
        elif (old := self._flushed.pop(key, None)) is not None:
            self.size -= _size(key, old)

    def flushed(self, key: Key, standing: Standing) -> None:
        """Take note that the file has a row now. It waits no longer to be flushed, unless it changed again."""
        standing.filed = True
        if self._unflushed.get(key) is standing:
            del self._unflushed[key]
            self._flushed[key] = standing
            self.unflushed_size -= _size(key, standing)

    def make_room(self) -> None:
        """Forget flushed rows until the bound holds, the least recently flushed one first."""
        while self.size > self.most_bytes and self._flushed:
            self.drop(next(iter(self._flushed)))


def _size(key: Key, standing: Standing) -> int:
    return _BYTES_BESIDE_ROW + len(standing.row) + len(key[1]) + _size_of_reference(standing)


def _size_of_reference(standing: Standing) -> int:
    return 0 if standing.reference_id is None else 60 + 2 * len(standing.reference_id)
