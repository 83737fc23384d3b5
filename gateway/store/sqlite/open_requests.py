"""The service requests of which something is still expected, the one whose state began first first: a page at a time.

A request without any known state, of which only rejected photos came for example, counts as open, too.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from typing import Final

from gateway.core.request_documents import OpenRequest, RequestPlace
from gateway.store import bounds, request_answers
from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.request_answers import Place
from gateway.store.sqlite import overlay, request_rows
from gateway.store.sqlite.overlay import Rows

_PAGE: Final = (
    f"SELECT r.source, r.sr_uuid, {STANDING} FROM standings s INDEXED BY standings_by_milestone"
    " CROSS JOIN requests r ON r.number = s.request WHERE s.milestone = ? AND (s.entered_ms, s.request) > (?, ?)"
    " ORDER BY s.entered_ms, s.request"
)
_Row = tuple[Key, Standing | tuple[object, ...]]
"""A row of memory, or the columns STANDING of one of the file."""
_Placed = tuple[Place, _Row]


def page(
    connection: sqlite3.Connection, sources: Collection[str], after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[OpenRequest], RequestPlace | None]:
    """Read a page of open requests of some sources, and the place to go on after; None at the end.

    One that has ended by what another of the sources says is left out.
    """
    begin = request_answers.BEFORE_ALL if after is None else (after.entered_ms, after.number)
    found: dict[Key, Standing] = {}
    place: RequestPlace | None = None
    with ExitStack() as stack:
        queries = [stack.enter_context(closing(connection.execute(_PAGE, (code, *begin)))) for code in request_answers.OPEN]
        waiting = overlay.waiting_open(sources, begin, limit, rows)
        for looked, (at, (key, row)) in enumerate(heapq.merge(*map(_placed, queries), waiting, key=lambda one: one[0]), 1):
            if key[0] in sources and (isinstance(row, Standing) or key not in rows.unflushed):
                found[key] = row if isinstance(row, Standing) else standing_of(row)
            if len(found) == limit or looked == bounds.REQUESTS_LOOKED_AT:
                place = RequestPlace(*at)
                break
    others = request_answers.in_other_sources(found, sources)
    known = request_rows.read(connection, others) | rows.of(others)
    return request_answers.still_open(found, known, sources), place


def _placed(query: sqlite3.Cursor) -> Iterator[_Placed]:
    for source, sr_uuid, *columns in query:
        number, _, _, _, _, entered_ms, _ = columns
        yield (entered_ms, number), ((source, sr_uuid.decode()), tuple(columns))
