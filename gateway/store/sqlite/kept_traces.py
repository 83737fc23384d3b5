"""Facts kept beside a message: when it came again, and what people did."""

from __future__ import annotations

import sqlite3

from gateway.core.documents import DeliveryAct, Repeat
from gateway.store import bounds
from gateway.store.columns import text


def repeats(connection: sqlite3.Connection, seq: int) -> tuple[Repeat, ...]:
    """Read when a message came again, the first times."""
    query = "SELECT received_ms, sender_id FROM repeats WHERE message = ? ORDER BY number"
    return tuple(Repeat(received_ms / 1000, text(sender_id)) for received_ms, sender_id in connection.execute(query, (seq,)))


def acts(connection: sqlite3.Connection, seq: int) -> tuple[DeliveryAct, ...]:
    """Read what people did to the deliveries of a message, in the order in which it happened."""
    rows = connection.execute(
        "SELECT sink, at_ms, actor, claimed, act, was, becomes FROM acts WHERE message = ? ORDER BY id LIMIT ?",
        (seq, bounds.MOST_ACTS_OF_A_MESSAGE),
    )
    return tuple(DeliveryAct(sink, at_ms / 1000, *row) for sink, at_ms, *row in rows)
