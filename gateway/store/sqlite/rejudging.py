"""Judging a message that is understood only after others of its service request have come.

The row becomes what it would be if the message had been understood at once: the order of arrival takes no part in it. The message
gets its place in the chain of its request. Its facts are those of an event that arrives now, so it is late if something that
happened after it has come meanwhile; the facts of the other messages stay as they are.
"""

from __future__ import annotations

import sqlite3

from gateway.core.events import Event
from gateway.core.ledger import Facts, encode_facts, encode_request
from gateway.core.references import folded
from gateway.core.watches import Entering
from gateway.store.hot_rows import Key, Standing
from gateway.store.misunderstood import FARTHEST_JUDGED, Misunderstood, judged_anew, times_begun
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.unlinking import unlink
from gateway.store.standing_timers import Since

_CHAIN = (
    "WITH RECURSIVE chain (seq, before) AS (SELECT message, before FROM entries WHERE message = ?1 UNION ALL"
    " SELECT e.message, e.before FROM chain CROSS JOIN entries e ON e.message = chain.before WHERE chain.before > ?2 LIMIT ?3)"
)
"""The messages of a request that came after one, the newest first, and the one before those."""


def read(connection: sqlite3.Connection, seq: int) -> Misunderstood:
    """Read what the ledger has of a message; before the message is given its new meaning."""
    source, sr_uuid, received_ms, number, before, facts = connection.execute(
        "SELECT m.source, m.sr_uuid, m.received_ms, e.request, e.before, e.facts"
        " FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = ?",
        (seq,),
    ).fetchone()
    key = (source, sr_uuid.decode()) if sr_uuid else None
    return Misunderstood(seq, key, number, before, facts, source, received_ms / 1000)


def leave(connection: sqlite3.Connection, ledger: Ledger, old: Misunderstood, event: Event) -> Misunderstood | None:
    """Take a message out of the chain of a request that it does not belong to, while it still has its old meaning.

    Returns what the ledger has of it now. None: it cannot be judged, because it has no place that can be found, or because the
    messages of an older database are read in and it is among those that come.
    """
    if not ledger.live and old.seq > ledger.judged_to:
        return None
    connection.execute("DELETE FROM loose_references WHERE message = ?", (old.seq,))
    if old.number is None or old.key in (None, (old.source, event.sr_uuid)):
        return old
    if unlink(connection, ledger, old.seq) is None:
        return None
    return old._replace(number=None, before=None, facts=None)


def judge_again(
    connection: sqlite3.Connection, ledger: Ledger, old: Misunderstood, event: Event, since: Since
) -> tuple[Facts | None, tuple[Entering, ...]]:
    """Judge a message by its new meaning, and write its entry and the row of its request.

    Returns its facts, and the times that begin because the request is in another state now.
    """
    reference = None if event.reference_id is None else folded(event.reference_id)
    if not event.sr_uuid:
        _write_loose(connection, old.seq, reference)
        return None, ()
    key = old.source, event.sr_uuid
    ledger.load(connection, [key])
    known = ledger.standing(key)
    row = None if known is None else known.request
    place = _placed(connection, ledger, key, old)
    if place is None:
        return None, ()
    number, before, last = place
    others = None if row is None or old.facts is None else _others(connection, old.seq, last)
    facts, after = judged_anew(ledger, row, old, event, others or ())
    first = known.reference_id if known is not None and known.reference_id is not None else event.reference_id
    if first != event.reference_id:
        _write_loose(connection, old.seq, reference)
    connection.execute(
        "INSERT INTO entries (message, request, before, facts) VALUES (?, ?, ?, ?) ON CONFLICT (message) DO UPDATE SET"
        " request = excluded.request, before = excluded.before, facts = excluded.facts",
        (old.seq, number, before, None if facts is None else encode_facts(facts)),
    )
    standing = Standing(number, last, encode_request(after), first, own=False, filed=False)
    # At once: a start judges again only what came after the last flush.
    ledger.change(key, request_rows.file(connection, key, standing))
    return facts, times_begun(key, first, row, after, since)


def _placed(connection: sqlite3.Connection, ledger: Ledger, key: Key, old: Misunderstood) -> tuple[int, int | None, int] | None:
    """Give a message its place in the chain of a request, which is in the order of arrival.

    Returns the number of the request, the message before this one, and the newest one; None if the place is too far back.
    """
    known = ledger.standing(key)
    if known is None:
        number, ledger.next_number = ledger.next_number, ledger.next_number + 1
        return number, None, old.seq
    if old.number is not None:
        return known.number, old.before, known.last
    if known.last < old.seq:
        return known.number, known.last, old.seq
    *_, (after, before) = (newer := _newer(connection, known.last, old.seq))
    if len(newer) == FARTHEST_JUDGED:
        return None
    connection.execute("UPDATE entries SET before = ? WHERE message = ?", (old.seq, after))
    # A link that leads to no message, because that was purged, ends the chain.
    return known.number, before if before is not None and before < old.seq else None, known.last


def _newer(connection: sqlite3.Connection, last: int, seq: int) -> list[tuple[int, int | None]]:
    """Read the messages of a request that came after one, the newest first, each with the one before it."""
    return connection.execute(f"{_CHAIN} SELECT seq, before FROM chain", (last, seq, FARTHEST_JUDGED)).fetchall()


def _others(connection: sqlite3.Connection, seq: int, last: int) -> list[bytes]:
    """Read the facts of the other messages of a request, the newest ones."""
    rows = connection.execute(
        f"{_CHAIN} SELECT e.facts FROM chain CROSS JOIN entries e ON e.message = chain.seq"
        " WHERE chain.seq <> ?4 AND e.facts IS NOT NULL",
        (last, 0, FARTHEST_JUDGED, seq),
    )
    return [facts for (facts,) in rows.fetchall()]


def _write_loose(connection: sqlite3.Connection, seq: int, reference: bytes | None) -> None:
    if reference is not None:
        connection.execute(
            "INSERT INTO loose_references (message, reference) VALUES (?, ?) ON CONFLICT DO NOTHING", (seq, reference)
        )
