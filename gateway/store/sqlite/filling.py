"""Reading stored messages into the ledger, in the order of their arrival.

A start reads the few since the last flush. All messages of a database that an earlier version wrote are read beside the traffic.

Both come to the same rows as judging on arrival. What a row already takes account of is passed by, so that both may be repeated.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from gateway.core.events import Event, decode
from gateway.core.judge import judge
from gateway.core.ledger import encode_facts
from gateway.core.routing import GATEWAY
from gateway.store.columns import text
from gateway.store.counted import Changes
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.many_rows import chunks, marks, values_of

_AT_ONCE: Final = 16
"""Messages read at once, each with a body that may be as large as `max_body`."""
SLICE_SECONDS: Final = 0.02
"""Seconds after which a slice takes no further messages."""
_MOST_IN_SLICE: Final = 512
_ALL: Final = -1
"""No limit, in SQL."""
_QUERY = (
    "SELECT m.seq, m.source, m.sr_uuid, m.reference_id, m.received_ms, m.milestone, m.body, e.request, e.facts IS NOT NULL"
    " FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq > ? ORDER BY m.seq LIMIT ?"
)


def reopen(connection: sqlite3.Connection, ledger: Ledger) -> None:
    """Bring the ledger to where the messages are. Nothing is written; older databases wait for `fill_slice`."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'ledger'").fetchone():
        return  # a database with the scripts of an earlier version only
    flushed, live = connection.execute("SELECT flushed, live FROM ledger").fetchone()
    (greatest,) = connection.execute("SELECT coalesce(max(number), 0) FROM requests").fetchone()
    ledger.live = bool(live)
    ledger.judged_to = ledger.flushed_to = flushed
    ledger.next_number = greatest + 1
    with closing(connection.execute(_QUERY, (flushed, _ALL))) as messages:
        while live and (rows := messages.fetchmany(_AT_ONCE)):
            ledger.begin()
            _take(connection, ledger, rows)
            ledger.committed()


def fill_slice(connection: sqlite3.Connection, changes: Changes, *, ledger: Ledger, seconds: Callable[[], float]) -> bool:
    """Read the next messages of an older database into the ledger, for some milliseconds. Returns True once it has all.

    From then on messages are judged as they are accepted.
    """
    if ledger.live:
        return True
    until = seconds() + SLICE_SECONDS
    entries: list[_Entry] = []
    read = 0
    with closing(connection.execute(_QUERY, (ledger.judged_to, _MOST_IN_SLICE))) as messages:
        while rows := messages.fetchmany(_AT_ONCE):
            entries += _take(connection, ledger, rows)
            read += len(rows)
            if seconds() >= until:  # however slow the disk is, each slice takes some
                break
    _write(connection, entries, ledger)
    if rows or read == _MOST_IN_SLICE:
        return False
    connection.execute("UPDATE ledger SET live = 1")
    ledger.live = True
    return True


_Entry = tuple[int, int | None, int | None, bytes | None]
"""Message, request, before and facts."""


def _take(connection: sqlite3.Connection, ledger: Ledger, rows: Sequence[tuple[Any, ...]]) -> list[_Entry]:
    """Change the rows of the requests that some messages name. Returns the entries of the messages."""
    ledger.load(connection, [(row[1], row[2].decode()) for row in rows if row[2]])
    entries: list[_Entry] = []
    for seq, source, sr_uuid, reference_id, received_ms, milestone, body, request, judged in rows:
        key = (source, sr_uuid.decode()) if sr_uuid else None
        known = None if key is None else ledger.standing(key)
        if known is not None and known.last >= seq:
            ledger.judged_to = seq
            continue
        facts = after = None
        # A live ledger judged a message unless it was not to be judged, or a bug prevented it; the row must come out the same.
        if judged if ledger.live else (key is not None and milestone is not None and source != GATEWAY):
            event = decode(body)
            if isinstance(event, Event):
                try:
                    facts, after = judge(None if known is None else known.request, event, received_ms / 1000)
                except Exception as bug:  # as on arrival: it stops nothing else
                    ledger.bug = bug
                    ledger.unjudged += 1
        number, before = ledger.take(key, seq, known, after, text(reference_id), number=request)
        entries.append((seq, number, before, None if facts is None else encode_facts(facts)))
    return entries


def _write(connection: sqlite3.Connection, entries: Sequence[_Entry], ledger: Ledger) -> None:
    ledger.write_loose(connection)
    for part in chunks(entries):
        connection.execute(
            f"INSERT INTO entries (message, request, before, facts) VALUES {marks(len(part), '(?, ?, ?, ?)')}"
            " ON CONFLICT (message) DO UPDATE SET"
            " request = excluded.request, before = excluded.before, facts = excluded.facts",
            values_of(part),
        )
