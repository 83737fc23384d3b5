"""Deliveries that are late: their sink has been told of something that happened to the same service request later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.selection import Target
from gateway.store import bounds
from gateway.store.columns import HAPPENED, VERDICTS
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.queries import keys_of

_TARGETS: Final = (
    f"SELECT k.place, k.sink, coalesce(s.last, e.message) AS head, {HAPPENED} AS happened,"
    f" coalesce(m.milestone IN {VERDICTS}, false) AS is_verdict"
    " FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (seq, sink, place)"
    " LEFT JOIN entries e ON e.message = k.seq AND e.request IS NOT NULL"
    " LEFT JOIN messages m ON m.seq = e.message LEFT JOIN standings s ON s.request = e.request"
)
_NEWER: Final = (
    "WITH RECURSIVE chain (place, seq, before) AS (SELECT 1, e.message, e.before FROM entries e WHERE e.message = t.head"
    " UNION ALL SELECT c.place + 1, e.message, e.before FROM chain c JOIN entries e ON e.message = c.before WHERE c.place < $3)"
    " SELECT FROM chain c JOIN deliveries d ON d.message = c.seq AND d.sink = t.sink AND d.state = 'delivered'"
    f" JOIN messages m ON m.seq = c.seq WHERE {HAPPENED} > t.happened AND (NOT t.is_verdict OR m.milestone IN {VERDICTS})"
)
_LATE: Final = f"SELECT EXISTS ({_NEWER}) FROM ({_TARGETS}) t ORDER BY t.place"


async def late(connection: Connection, targets: Sequence[Target]) -> list[bool]:
    """Return for each delivery whether it is late.

    Only a newer verdict makes a verdict late: no other event says what it says.
    """
    rows = await connection.fetch(_LATE, *keys_of(targets), bounds.HEARD_LOOKED_AT)
    return [is_late for (is_late,) in rows]
