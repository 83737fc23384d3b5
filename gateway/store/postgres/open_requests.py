"""The service requests of which something is still expected, the one whose state began first first: a page at a time.

A request without any known state, of which only rejected photos came for example, counts as open, too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gateway.core.request_documents import OpenRequest, RequestPlace
from gateway.store import bounds, request_answers
from gateway.store.postgres import request_lookup
from gateway.store.postgres.connection import Connection

_OPEN: Final = " UNION ALL ".join(
    f"SELECT s.entered_ms, s.request FROM standings s WHERE s.milestone = {code} AND (s.entered_ms, s.request) > ($1, $2)"
    for code in request_answers.OPEN
)
"""PostgreSQL merges the parts, each in the order of the index, and reads few entries that are not needed."""
_PAGE: Final = (
    f"SELECT s.entered_ms, s.request, r.source FROM ({_OPEN} ORDER BY entered_ms, request LIMIT $3) s"
    " JOIN requests r ON r.number = s.request ORDER BY s.entered_ms, s.request"
)


async def page(
    connection: Connection, sources: Collection[str], after: RequestPlace | None, limit: int
) -> tuple[list[OpenRequest], RequestPlace | None]:
    """Read a page of open requests of some sources, and the place to go on after; None at the end.

    One that has ended by what another of the sources says is left out.
    """
    begin = request_answers.BEFORE_ALL if after is None else (after.entered_ms, after.number)
    numbers: list[int] = []
    looked, size, go_on = 0, limit, None
    while go_on is None:
        rows = await connection.fetch(_PAGE, *begin, size)
        for entered_ms, number, source in rows:
            looked += 1
            if source in sources:
                numbers.append(number)
            if len(numbers) == limit or looked == bounds.REQUESTS_LOOKED_AT:
                go_on = RequestPlace(entered_ms, number)
                break
        if len(rows) < size:
            break
        begin, size = (rows[-1]["entered_ms"], rows[-1]["request"]), 2 * size
    kept = await request_lookup.numbered(connection, numbers)
    place = {number: at for at, number in enumerate(numbers)}
    found = dict(sorted(kept.items(), key=lambda one: place[one[1].number]))
    others = await request_lookup.read(connection, request_answers.in_other_sources(found, sources))
    return request_answers.still_open(found, others, sources), go_on
