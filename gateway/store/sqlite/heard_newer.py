"""Deliveries that are late: their sink has been told of something that happened to the same service request later."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.core.selection import Target
from gateway.store import bounds
from gateway.store.columns import HAPPENED, VERDICTS
from gateway.store.sqlite.overlay import Rows

_TARGET: Final = (
    f"SELECT e.request, {HAPPENED}, ifnull(m.milestone IN {VERDICTS}, 0)"
    " FROM entries e JOIN messages m ON m.seq = e.message WHERE e.message = ?"
)
_HEARD: Final = (
    "WITH RECURSIVE chain (seq, before) AS (SELECT message, before FROM entries WHERE message = ?1 UNION ALL"
    " SELECT e.message, e.before FROM chain CROSS JOIN entries e ON e.message = chain.before LIMIT ?2)"
    " SELECT 1 FROM chain CROSS JOIN deliveries d ON d.message = chain.seq AND d.sink = ?3 AND d.state = 'delivered'"
    f" CROSS JOIN messages m ON m.seq = chain.seq WHERE {HAPPENED} > ?4 AND (NOT ?5 OR m.milestone IN {VERDICTS}) LIMIT 1"
)


def late(connection: sqlite3.Connection, targets: Sequence[Target], rows: Rows) -> list[bool]:
    """Return for each delivery whether it is late.

    Only a newer verdict makes a verdict late: no other event says what it says.
    """
    heads = {row.number: row.last for row in rows.unflushed.values()}
    found = []
    for target in targets:
        row = connection.execute(_TARGET, (target.seq,)).fetchone()
        number, happened, is_verdict = (None, 0, 0) if row is None else row
        if number is not None and number not in heads:
            kept = connection.execute("SELECT last FROM standings WHERE request = ?", (number,)).fetchone()
            heads[number] = target.seq if kept is None else kept[0]
        if number is None:
            found.append(False)
            continue
        newer = connection.execute(_HEARD, (heads[number], bounds.HEARD_LOOKED_AT, target.sink, happened, is_verdict))
        found.append(newer.fetchone() is not None)
    return found
