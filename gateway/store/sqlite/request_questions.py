"""Answers to people about service requests: finding them, and listing them. Each is one page of bounded cost.

The rows of the file are overlaid with those that are not flushed yet, so an answer has everything that is committed.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import groupby, islice
from typing import Final

from gateway.core.references import folded
from gateway.core.request_documents import FoundBy, FoundRequests, KnownRequest, RequestPlace, RequestSelection
from gateway.store import bounds, request_answers
from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import MILESTONES, Key, Standing
from gateway.store.request_answers import Kept, Row, codes_of, fitting
from gateway.store.requests import MOST_CANDIDATES
from gateway.store.sqlite import overlay, request_lookup, request_rows
from gateway.store.sqlite.overlay import Rows

_Told = tuple[int, str, bytes]
"""When the state began by a timer, in milliseconds, with the source and the service request of the timer."""


def find(connection: sqlite3.Connection, name: str, rows: Rows) -> FoundRequests:
    """Find the requests that a name stands for; see `store.requests.Tracing`."""
    name = name.strip()
    reference = folded(name)
    tries = _tries(connection, name, reference, rows)
    nothing: tuple[FoundBy | None, Kept] = (None, {})
    by, found = next(((by, found) for by, found in tries if found), nothing)
    newest_first = sorted(found.items(), key=lambda one: one[1].number, reverse=True)
    oldest = connection.execute("SELECT received_ms FROM messages ORDER BY seq LIMIT 1").fetchone()
    return FoundRequests(
        requests=tuple(known(connection, key, row) for key, row in newest_first[:MOST_CANDIDATES]),
        more=len(found) > MOST_CANDIDATES,
        by=by,
        nearest=() if found else _nearest(connection, reference, rows),
        reaches_back_to=None if oldest is None else oldest[0] / 1000,
        complete=rows.live,
    )


def _tries(connection: sqlite3.Connection, name: str, reference: bytes, rows: Rows) -> Iterator[tuple[FoundBy, Kept]]:
    limit = MOST_CANDIDATES + 1
    yield "sr_uuid", request_lookup.of_uuid(connection, name, rows)
    if name != name.lower():
        yield "sr_uuid", request_lookup.of_uuid(connection, name.lower(), rows)
    of_message = "SELECT message FROM loose_references WHERE reference = ? ORDER BY message DESC LIMIT ?"
    loose = [seq for (seq,) in connection.execute(of_message, (reference, limit))]
    found = request_lookup.of_reference(connection, reference, rows, limit)
    yield "reference_id", found | request_lookup.of_messages(connection, loose, rows)
    ids = "SELECT seq FROM messages WHERE id = ?1 UNION SELECT seq FROM messages WHERE sender_id = ?2 LIMIT ?3"
    seqs = [seq for (seq,) in connection.execute(ids, (name, name.encode(), limit))]
    yield "message_id", request_lookup.of_messages(connection, seqs, rows)
    if len(name) >= request_answers.SHORTEST:
        yield "beginning", request_lookup.begun(connection, name, rows, limit)
        if name != name.lower():
            yield "beginning", request_lookup.begun(connection, name.lower(), rows, limit)
        ids = (
            "SELECT * FROM (SELECT seq FROM messages WHERE id >= ?1 AND id < ?2 LIMIT ?5)"
            " UNION SELECT * FROM (SELECT seq FROM messages WHERE sender_id >= ?3 AND sender_id < ?4 LIMIT ?5)"
        )
        raw = name.encode()
        seqs = [seq for (seq,) in connection.execute(ids, (name, f"{name}\uffff", raw, raw + b"\xff", limit))]
        yield "beginning", request_lookup.of_messages(connection, seqs, rows)


def _nearest(connection: sqlite3.Connection, reference: bytes, rows: Rows) -> tuple[str, ...]:
    """Return the reference ids that differ little from this one, then those that begin with it; few of each."""
    near = request_lookup.neighbours(connection, reference, request_answers.NEIGHBOURS)
    near += rows.references_begun(reference[: max(1, len(reference) // 2)], 2 * request_answers.NEIGHBOURS)
    return request_answers.nearest(reference, near)


def known(connection: sqlite3.Connection, key: Key, row: Standing) -> KnownRequest:
    """Return what is known of a request, with the deliveries that it owes now."""
    (queued, dead) = connection.execute(
        "WITH RECURSIVE chain (seq, before) AS (SELECT message, before FROM entries WHERE message = ?1 UNION ALL"
        " SELECT e.message, e.before FROM chain CROSS JOIN entries e ON e.message = chain.before LIMIT ?2)"
        " SELECT coalesce(sum(d.state = 'queued'), 0), coalesce(sum(d.state = 'dead'), 0)"
        " FROM chain CROSS JOIN deliveries d ON d.message = chain.seq",
        (row.last, bounds.COUNTED_OF_A_REQUEST),
    ).fetchone()
    return request_answers.known(key, row, queued, dead)


def requests(
    connection: sqlite3.Connection, selection: RequestSelection, after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read a page of requests, the one whose present state began last first, and the place to go on after."""
    if selection.stalled:
        return _stalled(connection, selection, after, limit, rows)
    before = (bounds.END, bounds.END) if after is None else (after.entered_ms, after.number)
    since, until = request_answers.window(selection)
    before = min(before, (until, -1))
    end = (
        None
        if selection.flag is None
        else connection.execute(_LAST_FLAGGED, (*before, since, bounds.FLAGGED_LOOKED_AT - 1)).fetchone()
    )
    last = (since, 0) if end is None else (end[0], end[1])
    fits = fitting(selection)
    waiting = overlay.waiting(selection, rows, last, before, limit)
    found: list[KnownRequest] = []
    looked = counted = 0
    with ExitStack() as stack:
        queries = [
            stack.enter_context(closing(connection.execute(query, (*before, *last, *values))))
            for query, values in _queries(selection)
        ]
        kept = [(_key_and_row(row) for row in query) for query in queries]
        for one in heapq.merge(*kept, waiting, key=_place, reverse=True):
            looked += 1
            key, row = one
            # The row of the file gives way to the one in memory, which has a place of its own.
            if rows.unflushed.get(key, row) is row and fits(key, row.columns):
                found.append(known(connection, key, row))
                counted += min(found[-1].request.events, bounds.COUNTED_OF_A_REQUEST)
            if len(found) == limit or looked == bounds.REQUESTS_LOOKED_AT or counted >= bounds.COUNTED_IN_PAGE:
                return found, RequestPlace(row.columns.entered_ms, row.number)
    return found, None if end is None else RequestPlace(*last)


def _stalled(
    connection: sqlite3.Connection, selection: RequestSelection, after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read a page of the requests that people were told about, in the order in which their timers say that the state began."""
    since, until = request_answers.window(selection)
    fits = fitting(selection)
    shown: list[KnownRequest] = []
    looked = counted = 0
    with ExitStack() as stack:
        told = _told(connection, stack, (bounds.END, "", b"") if after is None else _told_place(connection, after, rows))
        while part := list(islice(told, limit)):
            keys = {_key(one) for one in part}
            kept = request_rows.read(connection, keys) | rows.of(keys)
            for one in part:
                looked += 1
                key, row = _key(one), kept.get(_key(one))
                if (
                    row is not None
                    and since <= row.columns.entered_ms < until
                    and fits(key, row.columns)
                    and _is_newest(connection, one)
                ):
                    shown.append(known(connection, key, row))
                    counted += min(shown[-1].request.events, bounds.COUNTED_OF_A_REQUEST)
                if len(shown) == limit or looked == bounds.REQUESTS_LOOKED_AT or counted >= bounds.COUNTED_IN_PAGE:
                    return shown, RequestPlace(one[0], 0 if row is None else row.number)
    return shown, None


def _told(connection: sqlite3.Connection, stack: ExitStack, before: _Told) -> Iterator[_Told]:
    """Find the requests that a rule told people about, before a place, each once for each instant; the latest first."""
    rules: list[str] = []
    while (row := connection.execute(_NEXT_RULE, (rules[-1] if rules else "",)).fetchone()) is not None:
        rules += row
    queries = [stack.enter_context(closing(connection.execute(_TOLD, (rule, *before)))) for rule in rules]
    return (one for one, _ in groupby(heapq.merge(*queries, reverse=True)))


def _told_place(connection: sqlite3.Connection, after: RequestPlace, rows: Rows) -> _Told:
    """Return the place of a request among those of its instant. One that is gone counts as the last of them."""
    found = connection.execute("SELECT source, sr_uuid FROM requests WHERE number = ?", (after.number,)).fetchone()
    if found is None:
        waits = rows.of_number(after.number)
        found = ("", b"") if waits is None else (waits[0][0], waits[0][1].encode())
    return (after.entered_ms, *found)


def _is_newest(connection: sqlite3.Connection, one: _Told) -> bool:
    """Return False if another rule told of a later beginning of the state: the list has the request there."""
    (newest,) = connection.execute(_NEWEST, one[1:]).fetchone()
    return bool(newest == one[0])


def _key(one: _Told) -> Key:
    return one[1], one[2].decode()


_NEXT_RULE: Final = (
    "SELECT rule FROM watch_timers INDEXED BY watch_timers_told WHERE told_ms IS NOT NULL AND rule > ? ORDER BY rule LIMIT 1"
)
_TOLD: Final = (
    "SELECT entered_ms, source, sr FROM watch_timers INDEXED BY watch_timers_told WHERE told_ms IS NOT NULL AND rule = ?"
    " AND (entered_ms, source, sr) < (?, ?, ?) ORDER BY entered_ms DESC, source DESC, sr DESC"
)
_NEWEST: Final = "SELECT max(entered_ms) FROM watch_timers WHERE source = ? AND sr = ? AND told_ms IS NOT NULL"


_LAST_FLAGGED: Final = (
    "SELECT entered_ms, request FROM standings INDEXED BY standings_flagged WHERE flags <> 0 AND (entered_ms, request) < (?, ?)"
    " AND entered_ms >= ? ORDER BY entered_ms DESC, request DESC LIMIT 1 OFFSET ?"
)
"""The last of the flagged requests that a page looks at; there is none if the page may look at all that are left."""


def _queries(selection: RequestSelection) -> list[tuple[str, tuple[object, ...]]]:
    """Return the queries that have what the selection may choose, each in the order of the list, between two places."""
    query = (
        f"SELECT r.source, r.sr_uuid, {STANDING} FROM standings s INDEXED BY {{}} CROSS JOIN requests r ON r.number = s.request"
        " WHERE (s.entered_ms, s.request) < (?1, ?2) AND (s.entered_ms, s.request) >= (?3, ?4) AND {}"
        " ORDER BY s.entered_ms DESC, s.request DESC"
    )
    codes = codes_of(selection.milestones)
    if selection.flag is not None:
        of_these = f" AND s.milestone IN ({', '.join(map(str, codes))})" if codes else ""
        return [(query.format("standings_flagged", f"s.flags <> 0 AND s.flags & ?5 = ?5{of_these}"), (int(selection.flag),))]
    return [(query.format("standings_by_milestone", "s.milestone = ?5"), (code,)) for code in codes or range(len(MILESTONES) + 1)]


def _key_and_row(row: tuple[object, ...]) -> Row:
    source, sr_uuid, *columns = row
    assert isinstance(source, str) and isinstance(sr_uuid, bytes)
    return (source, sr_uuid.decode()), standing_of(columns)


def _place(one: Row) -> tuple[int, int]:
    return one[1].columns.entered_ms, one[1].number
