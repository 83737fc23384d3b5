"""Taking a message that is about to be purged out of the chain of its service request."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.request_rows import REQUESTS

_FARTHEST: Final = 500
"""Messages of a request that are looked at to find the one that links to another one."""


def unlink(connection: sqlite3.Connection, ledger: Ledger, seq: int) -> int | None:
    """Take a message out of the chain of its request, and forget the request if it was the last one.

    Mostly nothing is to be done: the oldest message goes first, and a link to what is gone ends the chain. But if a dead delivery
    holds an older message back, the chain has to lead past this one.

    Returns the rows that were looked at or changed. None: the chain is too long to find the place; then the message has to stay
    until the older one is gone.
    """
    entry = connection.execute(
        "SELECT e.request, e.before, (SELECT seq FROM messages WHERE seq = e.before), m.source, m.sr_uuid"
        " FROM entries e JOIN messages m ON m.seq = e.message WHERE e.message = ?",
        (seq,),
    ).fetchone()
    if entry is None or entry[0] is None:
        return 1
    number, before, older, source, sr_uuid = entry
    key = source, sr_uuid.decode()
    standing = _standing(connection, ledger, key, number)
    if standing is None:
        return 2
    if seq > ledger.flushed_to and standing.last != seq:
        # After a crash, the row of the file goes on without this message, so it has to know what the message said.
        standing = request_rows.file(connection, key, standing)
        ledger.change(key, standing)
    if older is None:
        if standing.last == seq:
            request_rows.delete(connection, number)
            ledger.change(key, None)
        return 3
    if standing.last == seq:
        standing = msgspec.structs.replace(standing, last=before)
        # At once: after a crash, the row of the file would lead nowhere.
        ledger.change(key, request_rows.file(connection, key, standing))
        return 4
    at = standing.last
    for steps in range(_FARTHEST):
        row = connection.execute("SELECT before FROM entries WHERE message = ?", (at,)).fetchone()
        if row is None or row[0] is None:
            return 3 + steps  # the chain ended before: the older message is not found by it in any case
        if row[0] == seq:
            connection.execute("UPDATE entries SET before = ? WHERE message = ?", (before, at))
            return 3 + steps
        at = row[0]
    return None


def _standing(connection: sqlite3.Connection, ledger: Ledger, key: Key, number: int) -> Standing | None:
    if (standing := ledger.standing(key)) is None:
        # By its number and not by its uuid: numbers of requests whose messages are purged together lie together.
        query = f"SELECT {STANDING} FROM {REQUESTS} WHERE r.number = ?"
        row = connection.execute(query, (number,)).fetchone()
        standing = None if row is None else standing_of(row)
    return standing
