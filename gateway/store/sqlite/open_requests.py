"""The service requests of which something is still expected, the one whose state began first first: a page at a time.

A request without any known state, of which only rejected photos came for example, counts as open, too.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from typing import Final

from gateway.core.events import Milestone
from gateway.core.ledger import ENDS, ServiceRequest
from gateway.core.request_documents import OpenRequest, RequestPlace
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.hot_rows import Key, Standing
from gateway.store.sqlite.request_lookup import Rows
from gateway.store.sqlite.request_rows import STANDING, code_of

LOOKED_AT: Final = 2000
"""Requests that a page looks at."""
_BEGINNING: Final = (-(2**63), -1)
"""Before every place: senders may date an event before 1970."""
_OPEN: Final = tuple(code_of(milestone) for milestone in (None, *Milestone) if milestone not in ENDS)
_PAGE: Final = (
    f"SELECT r.source, r.sr_uuid, {STANDING} FROM standings s INDEXED BY standings_by_milestone"
    " CROSS JOIN requests r ON r.number = s.request WHERE s.milestone = ? AND (s.entered_ms, s.request) > (?, ?)"
    " ORDER BY s.entered_ms, s.request"
)
_Row = tuple[Key, Standing | tuple[object, ...]]
"""A row of memory, or the columns STANDING of one of the file."""
_Placed = tuple[tuple[int, int], _Row]


def page(
    connection: sqlite3.Connection, sources: Collection[str], after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[OpenRequest], RequestPlace | None]:
    """Read a page of open requests of some sources, and the place to go on after; None at the end.

    One that has ended by what another of the sources says is left out.
    """
    begin = _BEGINNING if after is None else (after.entered_ms, after.number)
    found: dict[Key, Standing] = {}
    place: RequestPlace | None = None
    with ExitStack() as stack:
        queries = [stack.enter_context(closing(connection.execute(_PAGE, (code, *begin)))) for code in _OPEN]
        waiting = _waiting(sources, begin, limit, rows)
        for looked, (at, (key, row)) in enumerate(heapq.merge(*map(_placed, queries), waiting, key=lambda one: one[0]), 1):
            if key[0] in sources and (isinstance(row, Standing) or key not in rows.unflushed):
                found[key] = row if isinstance(row, Standing) else request_rows.standing_of(row)
            if len(found) == limit or looked == LOOKED_AT:
                place = RequestPlace(*at)
                break
    others = {(source, sr_uuid) for of, sr_uuid in found for source in sources if source != of}
    known = request_rows.read(connection, others) | {key: rows.unflushed[key] for key in others & rows.unflushed.keys()}
    requests = {key: row.request for key, row in (known | found).items()}
    return [
        OpenRequest(*key, row.reference_id, requests[key])
        for key, row in found.items()
        if not any(_ended_since(requests[key], requests.get((source, key[1]))) for source in sources)
    ], place


def _waiting(sources: Collection[str], begin: tuple[int, int], limit: int, rows: Rows) -> list[_Placed]:
    """Find the rows in memory that a page may show, in its order. They count in place of those in the file."""
    found: Iterator[_Placed] = (
        ((row.columns.entered_ms, row.number), (key, row))
        for key, row in rows.unflushed.items()
        if row.columns.milestone in _OPEN and key[0] in sources and (row.columns.entered_ms, row.number) > begin
    )
    return heapq.nsmallest(limit, found, key=lambda one: one[0])


def _placed(query: sqlite3.Cursor) -> Iterator[_Placed]:
    for source, sr_uuid, *columns in query:
        number, _, _, _, _, entered_ms, _ = columns
        yield (entered_ms, number), ((source, sr_uuid.decode()), tuple(columns))


def _ended_since(one: ServiceRequest, other: ServiceRequest | None) -> bool:
    """Return True if another source says that the request ended after its state began."""
    if other is None or not other.ended:
        return False
    ended_ms = other.invalidated_at_ms if other.invalidated else other.state_at_ms
    return ended_ms is not None and (one.state_at_ms is None or one.state_at_ms <= ended_ms)
