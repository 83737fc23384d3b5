"""The rows of service requests that are not flushed yet, laid over those of the file, so that an answer has all that is known.

The ledger in memory is copied before a question begins to read the file: a row that is flushed meanwhile is in both.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator

from msgspec import Struct

from gateway.core.request_documents import RequestSelection
from gateway.store.hot_rows import MILESTONES, Key
from gateway.store.request_answers import OPEN, Kept, Place, Row, codes_of


class Rows(Struct, frozen=True):
    """The ledger in memory, as a question has to know it. Taken before the question begins to read."""

    unflushed: Kept
    """Rows that the database does not have, or has in an older form."""
    live: bool
    """False: the ledger does not have all messages of an older database yet."""
    judged_to: int
    """The newest message that the ledger has."""

    def newer(self, found: Kept) -> Kept:
        """Replace rows by the newer ones in memory."""
        return {key: self.unflushed.get(key, row) for key, row in found.items()}

    def of(self, keys: Collection[Key]) -> Kept:
        """Return the rows of some requests, as far as memory has them."""
        return {key: row for key in keys if (row := self.unflushed.get(key)) is not None}

    def of_number(self, number: int) -> Row | None:
        """Return the row of a request by its number, if memory has it."""
        return next(((key, row) for key, row in self.unflushed.items() if row.number == number), None)

    def of_uuid(self, sr_uuid: str) -> Kept:
        return {key: row for key, row in self.unflushed.items() if key[1] == sr_uuid}

    def of_reference(self, reference: bytes) -> Kept:
        """Return the rows with a reference id, given in its folded form."""
        return {key: row for key, row in self.unflushed.items() if row.reference == reference}

    def begun(self, beginning: str) -> Kept:
        """Return the rows whose uuid begins like this."""
        return {key: row for key, row in self.unflushed.items() if key[1].startswith(beginning)}

    def references_begun(self, beginning: bytes, most: int) -> list[str]:
        """Return at most `most` reference ids whose folded form begins like this."""
        found: list[str] = []
        for row in self.unflushed.values():
            if row.reference_id is not None and row.reference is not None and row.reference.startswith(beginning):
                found.append(row.reference_id)
                if len(found) == most:
                    break
        return found


def waiting(selection: RequestSelection, rows: Rows, last: Place, before: Place, limit: int) -> list[Row]:
    """Find the rows in memory that a page may show, in its order. There are many thousands, so little is called for each."""
    codes = frozenset(codes_of(selection.milestones) or range(len(MILESTONES) + 1))
    flag, source = int(selection.flag or 0), selection.source  # the operators of an IntFlag take a microsecond each
    found = [
        (listed.entered_ms, row.number, key, row)
        for key, row in rows.unflushed.items()
        if (listed := row.columns).milestone in codes
        and listed.flags & flag == flag
        and last <= (listed.entered_ms, row.number) < before
        and (source is None or source == key[0])
    ]
    return [(key, row) for _, _, key, row in heapq.nlargest(limit, found)]


def waiting_open(sources: Collection[str], begin: Place, limit: int, rows: Rows) -> list[tuple[Place, Row]]:
    """Find the rows in memory that a page of open requests may show, in its order."""
    found: Iterator[tuple[Place, Row]] = (
        ((row.columns.entered_ms, row.number), (key, row))
        for key, row in rows.unflushed.items()
        if row.columns.milestone in OPEN and key[0] in sources and (row.columns.entered_ms, row.number) > begin
    )
    return heapq.nsmallest(limit, found, key=lambda one: one[0])
