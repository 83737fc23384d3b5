"""Answers to people about service requests: finding them, and listing them. Each is one page of bounded cost.

A list reads narrow rows of as many requests as it may look at, and then everything of those that it shows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway.core.references import folded
from gateway.core.request_documents import FoundBy, FoundRequests, KnownRequest, RequestPlace, RequestSelection
from gateway.store import bounds, request_answers
from gateway.store.hot_rows import MILESTONES, Columns, Key, Standing
from gateway.store.postgres import request_lookup
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.selecting import ids_beginning, whole_id
from gateway.store.request_answers import Kept, Place, codes_of, fitting
from gateway.store.requests import MOST_CANDIDATES

_OWING: Final = (
    f"{request_lookup.CHAIN} SELECT c.head, count(*) FILTER (WHERE d.state = 'queued'), count(*) FILTER (WHERE d.state = 'dead')"
    " FROM chain c JOIN deliveries d ON d.message = c.seq GROUP BY c.head"
)
_LAST_FLAGGED: Final = (
    "SELECT entered_ms, request FROM standings WHERE flags <> 0 AND (entered_ms, request) < ($1, $2) AND entered_ms >= $3"
    " ORDER BY entered_ms DESC, request DESC LIMIT 1 OFFSET $4"
)
"""The last of the flagged requests that a page looks at; there is none if the page may look at all that are left."""
_BETWEEN: Final = (
    "SELECT s.entered_ms, s.request, s.milestone, s.flags FROM standings s WHERE {}"
    " AND (s.entered_ms, s.request) < ($1, $2) AND (s.entered_ms, s.request) >= ($3, $4)"
    " ORDER BY s.entered_ms DESC, s.request DESC LIMIT $5"
)
_OF_FLAG: Final = "s.flags <> 0 AND s.flags & $7 = $7 AND (cardinality($6::int[]) = 0 OR s.milestone = ANY($6))"
_CANDIDATES: Final = (
    "SELECT r.source, r.sr_uuid, s.request, s.entered_ms, s.milestone, s.flags "
    " FROM ({} ORDER BY entered_ms DESC, request DESC LIMIT $5) s JOIN requests r ON r.number = s.request"
    " ORDER BY s.entered_ms DESC, s.request DESC"
)
_NEXT_RULE: Final = "SELECT w.rule FROM watch_timers w WHERE w.told_ms IS NOT NULL{} ORDER BY w.rule LIMIT 1"
_TOLD: Final = (
    f"WITH RECURSIVE rules (rule) AS (({_NEXT_RULE.format('')}) UNION ALL"
    f" SELECT ({_NEXT_RULE.format(' AND w.rule > rules.rule')}) FROM rules WHERE rules.rule IS NOT NULL),"
    " told AS MATERIALIZED (SELECT DISTINCT one.* FROM rules CROSS JOIN LATERAL (SELECT w.entered_ms, w.source, w.sr"
    " FROM watch_timers w WHERE w.told_ms IS NOT NULL AND w.rule = rules.rule AND (w.entered_ms, w.source, w.sr) < ($1, $2, $3)"
    " ORDER BY w.entered_ms DESC, w.source DESC, w.sr DESC LIMIT $4) one"
    " ORDER BY one.entered_ms DESC, one.source DESC, one.sr DESC LIMIT $4)"
    " SELECT t.entered_ms, t.source, t.sr, t.entered_ms = (SELECT max(w.entered_ms) FROM watch_timers w WHERE w.source = t.source"
    " AND w.sr = t.sr AND w.told_ms IS NOT NULL), r.number, s.entered_ms, s.milestone, s.flags FROM told t"
    " LEFT JOIN requests r ON r.source = t.source AND r.sr_uuid = t.sr LEFT JOIN standings s ON s.request = r.number"
    " ORDER BY t.entered_ms DESC, t.source DESC, t.sr DESC"
)
"""The requests that a rule told people about, before a place, each once for each instant, the latest first.

The fourth column is false if another rule told of a later beginning of the state: the list has the request there.
"""


class _Candidate(NamedTuple):
    """A request that a page looks at."""

    place: RequestPlace
    number: int | None
    """Its number if the page may show it."""


async def find(connection: Connection, name: str) -> FoundRequests:
    """Find the requests that a name stands for; see `store.requests.Tracing`."""
    name = name.strip()
    reference = folded(name)
    by: FoundBy | None = None
    found: Kept = {}
    async with aclosing(_tries(connection, name, reference)) as tries:
        async for kind, found in tries:
            if found:
                by = kind
                break
    newest_first = sorted(found.items(), key=lambda one: one[1].number, reverse=True)[:MOST_CANDIDATES]
    oldest = await connection.fetchval("SELECT received_ms FROM messages ORDER BY seq LIMIT 1")
    return FoundRequests(
        requests=tuple(await known(connection, newest_first)),
        more=len(found) > MOST_CANDIDATES,
        by=by,
        nearest=() if found else await _nearest(connection, reference),
        reaches_back_to=None if oldest is None else oldest / 1000,
        complete=True,
    )


async def _tries(connection: Connection, name: str, reference: bytes) -> AsyncGenerator[tuple[FoundBy, Kept], None]:
    limit = MOST_CANDIDATES + 1
    spellings = [name] if name == name.lower() else [name, name.lower()]
    for spelling in spellings:
        yield "sr_uuid", await request_lookup.of_uuid(connection, spelling)
    loose = "SELECT message FROM loose_references WHERE reference = $1 ORDER BY message DESC LIMIT $2"
    seqs = [seq for (seq,) in await connection.fetch(loose, reference, limit)]
    found = await request_lookup.of_reference(connection, reference, limit)
    yield "reference_id", found | await request_lookup.of_messages(connection, seqs)
    ids = "SELECT seq FROM messages WHERE id = $1 UNION SELECT seq FROM messages WHERE sender_id = $2 LIMIT $3"
    seqs = [seq for (seq,) in await connection.fetch(ids, whole_id(name), name.encode(), limit)]
    yield "message_id", await request_lookup.of_messages(connection, seqs)
    if len(name) >= request_answers.SHORTEST:
        for spelling in spellings:
            yield "beginning", await request_lookup.begun(connection, spelling, limit)
        least, greatest = ids_beginning(name) or (None, None)
        ids = (
            "(SELECT seq FROM messages WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $5)"
            " UNION (SELECT seq FROM messages WHERE sender_id >= $3 AND sender_id < $4 ORDER BY sender_id LIMIT $5)"
        )
        raw = name.encode()
        seqs = [seq for (seq,) in await connection.fetch(ids, least, greatest, raw, raw + b"\xff", limit)]
        yield "beginning", await request_lookup.of_messages(connection, seqs)


async def _nearest(connection: Connection, reference: bytes) -> tuple[str, ...]:
    """Return the reference ids that differ little from this one, then those that begin with it; few of each."""
    return request_answers.nearest(reference, await request_lookup.neighbours(connection, reference, request_answers.NEIGHBOURS))


async def known(connection: Connection, rows: Iterable[tuple[Key, Standing]]) -> list[KnownRequest]:
    """Return what is known of some requests, with the deliveries that they owe now."""
    some = list(rows)
    heads = list({row.last for _, row in some})
    owing = {head: (queued, dead) for head, queued, dead in await connection.fetch(_OWING, heads, bounds.COUNTED_OF_A_REQUEST)}
    return [request_answers.known(key, row, *owing.get(row.last, (0, 0))) for key, row in some]


async def requests(
    connection: Connection, selection: RequestSelection, after: RequestPlace | None, limit: int
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read a page of requests, the one whose present state began last first, and the place to go on after."""
    if selection.stalled:
        return await _page(connection, _told(connection, selection, after, limit), limit)
    before = (bounds.END, bounds.END) if after is None else (after.entered_ms, after.number)
    since, until = request_answers.window(selection)
    before = min(before, (until, -1))
    end = None
    if selection.flag is not None:
        end = await connection.fetchrow(_LAST_FLAGGED, *before, since, bounds.FLAGGED_LOOKED_AT - 1)
    last = (since, 0) if end is None else (end[0], end[1])
    found, go_on = await _page(connection, _listed(connection, selection, before, last, limit), limit)
    return found, go_on if go_on is not None or end is None else RequestPlace(*last)


async def _page(
    connection: Connection, candidates: AsyncGenerator[_Candidate, None], limit: int
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read what is known of the first requests that a list may show, and the place to go on after; None if there is no other."""
    chosen: list[_Candidate] = []
    looked, go_on = 0, None
    async with aclosing(candidates):
        async for one in candidates:
            looked += 1
            if one.number is not None:
                chosen.append(one)
            if len(chosen) == limit or looked == bounds.REQUESTS_LOOKED_AT:
                go_on = one.place
                break
    kept = await request_lookup.numbered(connection, [one.number for one in chosen if one.number is not None])
    rows = {row.number: (key, row) for key, row in kept.items()}
    shown: list[tuple[Key, Standing]] = []
    counted = 0
    for one in chosen:
        if (found := rows.get(one.number or 0)) is not None:  # else it was purged since
            shown.append(found)
            counted += min(found[1].request.events, bounds.COUNTED_OF_A_REQUEST)
        if counted >= bounds.COUNTED_IN_PAGE:
            go_on = one.place
            break
    return await known(connection, shown), go_on


async def _listed(
    connection: Connection, selection: RequestSelection, before: Place, last: Place, limit: int
) -> AsyncGenerator[_Candidate, None]:
    """Find the requests between two places in the order of the list, few at first."""
    fits, codes, size = fitting(selection), codes_of(selection.milestones), 2 * limit
    values: list[object] = []
    if selection.flag is not None:
        parts, values = [_BETWEEN.format(_OF_FLAG)], [codes, int(selection.flag)]
    else:
        parts = [_BETWEEN.format(f"s.milestone = {code}") for code in codes or range(len(MILESTONES) + 1)]
    # PostgreSQL merges the parts, each in the order of the index, and reads few entries that are not needed.
    query = _CANDIDATES.format(" UNION ALL ".join(f"SELECT one.* FROM ({part}) one" for part in parts))
    while True:
        rows = await connection.fetch(query, *before, *last, size, *values)
        for source, sr_uuid, number, entered_ms, milestone, flags in rows:
            fit = fits((source, sr_uuid.decode()), Columns(milestone, entered_ms, flags))
            yield _Candidate(RequestPlace(entered_ms, number), number if fit else None)
        if len(rows) < size:
            return
        before, size = (rows[-1]["entered_ms"], rows[-1]["request"]), 2 * size


async def _told(
    connection: Connection, selection: RequestSelection, after: RequestPlace | None, limit: int
) -> AsyncGenerator[_Candidate, None]:
    """Find the requests that people were told about, in the order in which their timers say that the state began."""
    fits, (since, until), size = fitting(selection), request_answers.window(selection), 2 * limit
    before = (bounds.END, "", b"") if after is None else await _told_place(connection, after)
    while True:
        rows = await connection.fetch(_TOLD, *before, size)
        for told_ms, source, sr, newest, number, entered_ms, milestone, flags in rows:
            fit = (
                entered_ms is not None
                and newest
                and since <= entered_ms < until
                and fits((source, sr.decode()), Columns(milestone, entered_ms, flags))
            )
            yield _Candidate(RequestPlace(told_ms, number or 0), number if fit else None)
        if len(rows) < size:
            return
        before, size = (rows[-1][0], rows[-1][1], rows[-1][2]), 2 * size


async def _told_place(connection: Connection, after: RequestPlace) -> tuple[int, str, bytes]:
    """Return the place of a request among those of its instant. One that is gone counts as the last of them."""
    found = await connection.fetchrow("SELECT source, sr_uuid FROM requests WHERE number = $1", after.number)
    return (after.entered_ms, "", b"") if found is None else (after.entered_ms, found[0], found[1])
