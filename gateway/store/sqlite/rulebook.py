"""The rules by which messages were routed: one row for each configuration of them."""

from __future__ import annotations

import hashlib
import sqlite3

from gateway.core.request_documents import KeptRules
from gateway.store.sqlite.columns import milliseconds
from gateway.store.sqlite.counting import Changes


def keep(connection: sqlite3.Connection, changes: Changes, *, snapshot: bytes, now: float) -> int:
    """Keep a snapshot of rules, unless it is there. Returns its number."""
    sha256 = hashlib.sha256(snapshot).digest()
    row = connection.execute("SELECT number FROM rules WHERE sha256 = ?", (sha256,)).fetchone()
    if row is not None:
        return int(row[0])
    query = "INSERT INTO rules (sha256, since_ms, snapshot) VALUES (?, ?, ?)"
    return connection.execute(query, (sha256, milliseconds(now), snapshot)).lastrowid or 0


def kept(connection: sqlite3.Connection, number: int) -> KeptRules | None:
    """Read the rules of a number; None if there are none."""
    row = connection.execute("SELECT number, since_ms, snapshot FROM rules WHERE number = ?", (number,)).fetchone()
    return None if row is None else KeptRules(row[0], row[1] / 1000, row[2])
