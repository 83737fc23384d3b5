"""The rules by which messages were routed: one row for each configuration of them."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

from gateway.core.request_documents import KeptRules
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes

_PURGED_AT_ONCE: Final = 4


def keep(connection: sqlite3.Connection, changes: Changes, *, snapshot: bytes, now: float) -> int:
    """Keep a snapshot of rules, unless it is there. Returns its number. The rules count as used until others are."""
    sha256 = hashlib.sha256(snapshot).digest()
    row = connection.execute("SELECT number FROM rules WHERE sha256 = ?", (sha256,)).fetchone()
    if row is not None:
        # Rules that come back: no purge may delete them before `use` is called for them.
        connection.execute("UPDATE rules SET until_ms = NULL WHERE number = ?", row)
        return int(row[0])
    query = "INSERT INTO rules (sha256, since_ms, snapshot) VALUES (?, ?, ?)"
    return connection.execute(query, (sha256, milliseconds(now), snapshot)).lastrowid or 0


def use(connection: sqlite3.Connection, changes: Changes, *, number: int, now: float) -> None:
    """Note that these rules are in use now, and no others."""
    connection.execute("UPDATE rules SET until_ms = ? WHERE until_ms IS NULL AND number <> ?", (milliseconds(now), number))
    connection.execute("UPDATE rules SET until_ms = NULL WHERE number = ?", (number,))


def kept(connection: sqlite3.Connection, number: int) -> KeptRules | None:
    """Read the rules of a number; None if there are none."""
    row = connection.execute("SELECT number, since_ms, snapshot FROM rules WHERE number = ?", (number,)).fetchone()
    return None if row is None else KeptRules(row[0], row[1] / 1000, row[2])


def purge(connection: sqlite3.Connection, before: float) -> None:
    """Delete some rules that routed no message since an instant, and some that are too many."""
    connection.execute(
        "DELETE FROM rules WHERE number IN (SELECT number FROM rules WHERE until_ms < ?1 OR (until_ms IS NOT NULL AND number <="
        " (SELECT number FROM rules ORDER BY number DESC LIMIT 1 OFFSET ?2)) LIMIT ?3)",
        (milliseconds(before), bounds.MOST_RULES, _PURGED_AT_ONCE),
    )
