"""Answers to people about service requests: finding them, and listing them. Each is one page of bounded cost.

The rows of the file are overlaid with those that are not flushed yet, so an answer has everything that is committed.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from difflib import SequenceMatcher
from itertools import groupby, islice, takewhile
from typing import Final

from gateway.core.events import Milestone
from gateway.core.references import folded
from gateway.core.request_documents import FoundBy, FoundRequests, KnownRequest, Owing, RequestPlace, RequestSelection
from gateway.store.requests import MOST_CANDIDATES
from gateway.store.sqlite import paging, request_lookup, request_rows
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.hot_rows import MILESTONES, Key, Standing
from gateway.store.sqlite.request_lookup import Kept, Rows
from gateway.store.sqlite.request_rows import STANDING, code_of, standing_of

LOOKED_AT: Final = 2000
"""Requests that a page of a list looks at."""
COUNTED_IN_PAGE: Final = 500
"""Messages whose deliveries a page of a list counts. They lie as far apart in the file as they came."""
FLAGGED_LOOKED_AT: Final = 20_000
"""Entries of the index of flagged requests that a page looks at, most of which lead to no row."""
_COUNTED: Final = 256
"""Messages of a request whose deliveries are counted."""
_NEIGHBOURS: Final = 200
"""Reference ids on each side among which the nearest ones are looked for."""
_COMPARED: Final = 64
"""Reference ids that are compared letter by letter, which takes some 50 microseconds each."""
_MOST_NEAREST: Final = 5
_ALIKE: Final = 0.75
"""How much alike two reference ids are at least, from 0 to 1, to be called near."""
_SHORTEST: Final = 4
"""Characters of a beginning: fewer of them would stand for anything."""
_BEGINNING: Final = -(2**63)
"""Before every instant: senders may date an event before 1970."""
_Row = tuple[Key, Standing]
_Told = tuple[int, str, bytes]
"""When the state began by a timer, in milliseconds, with the source and the service request of the timer."""
Place = tuple[int, int]
"""When the present state of a request began, in milliseconds, and its number: its place in a list."""


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
    if len(name) >= _SHORTEST:
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
    wanted = reference.decode()
    near = request_lookup.neighbours(connection, reference, _NEIGHBOURS)
    beginning = reference[: max(1, len(reference) // 2)]
    for row in rows.unflushed.values():
        if row.reference_id is not None and row.reference is not None and row.reference.startswith(beginning):
            near.append(row.reference_id)
            if len(near) > 4 * _NEIGHBOURS:
                break
    spellings = {one: folded(one).decode() for one in near}
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    scored = set()
    for one in heapq.nlargest(_COMPARED, spellings, key=lambda one: _shared(spellings[one], wanted)):
        spelling = spellings[one]
        matcher.set_seq1(spelling)
        if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and (score := matcher.ratio()) >= _ALIKE:
            scored.add((-score, one))
        elif len(wanted) >= _SHORTEST and spelling.startswith(wanted):
            scored.add((0.0, one))
    return tuple(one for _, one in sorted(scored)[:_MOST_NEAREST])


def _shared(spelling: str, wanted: str) -> int:
    """Return how many characters two texts share at their beginning and at their end: all but the place of one typing mistake."""
    return _begun_alike(spelling, wanted) + _begun_alike(reversed(spelling), reversed(wanted))


def _begun_alike(one: Iterable[str], other: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def known(connection: sqlite3.Connection, key: Key, row: Standing) -> KnownRequest:
    """Return what is known of a request, with the deliveries that it owes now."""
    (queued, dead) = connection.execute(
        "WITH RECURSIVE chain (seq, before) AS (SELECT message, before FROM entries WHERE message = ?1 UNION ALL"
        " SELECT e.message, e.before FROM chain CROSS JOIN entries e ON e.message = chain.before LIMIT ?2)"
        " SELECT coalesce(sum(d.state = 'queued'), 0), coalesce(sum(d.state = 'dead'), 0)"
        " FROM chain CROSS JOIN deliveries d ON d.message = chain.seq",
        (row.last, _COUNTED),
    ).fetchone()
    return KnownRequest(row.number, *key, row.reference_id, row.request, Owing(queued, dead))


def requests(
    connection: sqlite3.Connection, selection: RequestSelection, after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read a page of requests, the one whose present state began last first, and the place to go on after."""
    if selection.stalled:
        return _stalled(connection, selection, after, limit, rows)
    before = (paging.END, paging.END) if after is None else (after.entered_ms, after.number)
    if selection.until is not None:
        before = min(before, (milliseconds(selection.until), -1))
    since = _BEGINNING if selection.since is None else milliseconds(selection.since)
    end = (
        None if selection.flag is None else connection.execute(_LAST_FLAGGED, (*before, since, FLAGGED_LOOKED_AT - 1)).fetchone()
    )
    last = (since, 0) if end is None else (end[0], end[1])
    fits = fitting(selection)
    waiting = _waiting(selection, rows, last, before, limit)
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
            if rows.unflushed.get(key, row) is row and fits(one):
                found.append(known(connection, key, row))
                counted += min(found[-1].request.events, _COUNTED)
            if len(found) == limit or looked == LOOKED_AT or counted >= COUNTED_IN_PAGE:
                return found, RequestPlace(row.columns.entered_ms, row.number)
    return found, None if end is None else RequestPlace(*last)


def _waiting(selection: RequestSelection, rows: Rows, last: Place, before: Place, limit: int) -> list[_Row]:
    """Find the rows in memory that a page may show, in its order. There are many thousands, so little is called for each."""
    codes = frozenset(_codes(selection.milestones) or range(len(MILESTONES) + 1))
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


def _stalled(
    connection: sqlite3.Connection, selection: RequestSelection, after: RequestPlace | None, limit: int, rows: Rows
) -> tuple[list[KnownRequest], RequestPlace | None]:
    """Read a page of the requests that people were told about, in the order in which their timers say that the state began."""
    since = _BEGINNING if selection.since is None else milliseconds(selection.since)
    until = paging.END if selection.until is None else milliseconds(selection.until)
    fits = fitting(selection)
    shown: list[KnownRequest] = []
    looked = counted = 0
    with ExitStack() as stack:
        told = _told(connection, stack, (paging.END, "", b"") if after is None else _told_place(connection, after, rows))
        while part := list(islice(told, limit)):
            keys = {_key(one) for one in part}
            kept = request_rows.read(connection, keys) | {key: rows.unflushed[key] for key in keys & rows.unflushed.keys()}
            for one in part:
                looked += 1
                key, row = _key(one), kept.get(_key(one))
                if (
                    row is not None
                    and since <= row.columns.entered_ms < until
                    and fits((key, row))
                    and _is_newest(connection, one)
                ):
                    shown.append(known(connection, key, row))
                    counted += min(shown[-1].request.events, _COUNTED)
                if len(shown) == limit or looked == LOOKED_AT or counted >= COUNTED_IN_PAGE:
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
        keys = (key for key, row in rows.unflushed.items() if row.number == after.number)
        found = next(((source, sr_uuid.encode()) for source, sr_uuid in keys), ("", b""))
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
    codes = _codes(selection.milestones)
    if selection.flag is not None:
        of_these = f" AND s.milestone IN ({', '.join(map(str, codes))})" if codes else ""
        return [(query.format("standings_flagged", f"s.flags <> 0 AND s.flags & ?5 = ?5{of_these}"), (int(selection.flag),))]
    return [(query.format("standings_by_milestone", "s.milestone = ?5"), (code,)) for code in codes or range(len(MILESTONES) + 1)]


def _codes(milestones: tuple[Milestone, ...]) -> list[int]:
    return sorted({code_of(milestone) for milestone in milestones})


def fitting(selection: RequestSelection) -> Callable[[_Row], bool]:
    """Return whether a row is what a selection chooses, its instants left aside."""
    codes, flag, source = frozenset(_codes(selection.milestones)), int(selection.flag or 0), selection.source

    def fits(one: _Row) -> bool:
        key, row = one
        listed = row.columns
        return (
            listed.milestone is not None
            and (not codes or listed.milestone in codes)
            and listed.flags & flag == flag
            and (source is None or source == key[0])
        )

    return fits


def _key_and_row(row: tuple[object, ...]) -> _Row:
    source, sr_uuid, *columns = row
    assert isinstance(source, str) and isinstance(sr_uuid, bytes)
    return (source, sr_uuid.decode()), standing_of(columns)


def _place(one: _Row) -> tuple[int, int]:
    return one[1].columns.entered_ms, one[1].number
