"""Messages that an earlier version could not decode, or did not recognize, and what a later one knows of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.core.documents import Redecoded, Redecoding, UndecodedMessage, UndecodedPage
from gateway.core.routing import GATEWAY
from gateway.core.watches import Entering
from gateway.store import bounds
from gateway.store.columns import MESSAGE_COLUMNS, UNDECODED, blob, message_of, milliseconds
from gateway.store.counted import Changes
from gateway.store.new_rows import identity_key
from gateway.store.sqlite import paging, rejudging, watch_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.standing_timers import Since


def undecoded(connection: sqlite3.Connection, instant: float, after: int, limit: int, most_bytes: int) -> UndecodedPage:
    """Read a page of such messages after a seq; see `paging`.

    The page ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
    """
    last = paging.last_of_the_next(connection, after)
    page: list[UndecodedMessage] = []
    read = 0
    for seq, quarantined, *columns in connection.execute(
        f"SELECT m.seq, m.milestone IS NULL, {MESSAGE_COLUMNS} FROM messages m WHERE m.seq > ? AND m.seq <= ?"
        f" AND m.received_ms >= ? AND m.source <> ? AND {UNDECODED} ORDER BY m.seq LIMIT ?",
        (after, bounds.END if last is None else last, milliseconds(instant), GATEWAY, limit),
    ):
        message = message_of(tuple(columns))
        page.append(UndecodedMessage(seq, message, bool(quarantined)))
        read += len(message.body)
        if len(page) == limit or read > most_bytes:
            return UndecodedPage(tuple(page), seq)
    return UndecodedPage(tuple(page), last)


def redecode(
    connection: sqlite3.Connection, changes: Changes, *, decoded: Sequence[Redecoding], ledger: Ledger, since: Since
) -> list[Redecoded]:
    """Write what is known of messages now, and judge them. Returns those that were still undecoded.

    A quarantined message has the status `unrouted` then.
    """
    changed: list[Redecoded] = []
    times: list[Entering] = []
    for one in decoded:
        event = one.event
        if not connection.execute(f"SELECT 1 FROM messages m WHERE m.seq = ? AND {UNDECODED}", (one.seq,)).fetchone():
            continue
        old = rejudging.leave(connection, ledger, rejudging.read(connection, one.seq), event)
        connection.execute(
            "UPDATE messages SET event_type = ?, milestone = ?, sr_uuid = ?, reference_id = ?, event_ms = coalesce(?, event_ms),"
            " status = CASE status WHEN 'quarantined' THEN 'unrouted' ELSE status END WHERE seq = ?",
            (
                blob(event.event_type),
                event.milestone.value,
                blob(event.sr_uuid),
                blob(event.reference_id),
                None if (at := event.instant()) is None else milliseconds(at),
                one.seq,
            ),
        )
        # Another message may have come with this identity meanwhile, and then only the sender's ids tell duplicates.
        connection.execute("UPDATE OR IGNORE messages SET identity = ? WHERE seq = ?", (identity_key(one.identity), one.seq))
        facts = None
        if old is not None:
            facts, begun = rejudging.judge_again(connection, ledger, old, event, since)
            times += begun
        changed.append(Redecoded(one.seq, facts))
    watch_rows.keep(connection, times)
    return changed
