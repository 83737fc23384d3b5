"""Facts kept beside messages: when they came again, what people did, their deliveries with the last attempts, and their joins.

Each is read for all messages of a page at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.documents import AttemptFacts, DeliveryAct, Repeat
from gateway.store import bounds
from gateway.store.columns import ATTEMPT, JoinPart, attempt_of, text
from gateway.store.postgres.connection import Connection


async def repeats(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[Repeat, ...]]:
    """Read when messages came again, the first times, by seq."""
    query = "SELECT message, received_ms, sender_id FROM repeats WHERE message = ANY($1::bigint[]) ORDER BY message, number"
    found: dict[int, tuple[Repeat, ...]] = {}
    for seq, received_ms, sender_id in await connection.fetch(query, seqs):
        found[seq] = (*found.get(seq, ()), Repeat(received_ms / 1000, text(sender_id)))
    return found


async def acts(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[DeliveryAct, ...]]:
    """Read what people did to the deliveries of messages, by seq, in the order in which it happened."""
    rows = await connection.fetch(
        "SELECT of.seq, a.sink, a.at_ms, a.actor, a.claimed, a.act, a.was, a.becomes FROM unnest($1::bigint[]) AS of (seq)"
        " CROSS JOIN LATERAL (SELECT * FROM acts WHERE message = of.seq ORDER BY id LIMIT $2) a ORDER BY a.id",
        seqs,
        bounds.MOST_ACTS_OF_A_MESSAGE,
    )
    found: dict[int, list[DeliveryAct]] = {}
    for seq, sink, at_ms, *row in rows:
        found.setdefault(seq, []).append(DeliveryAct(sink, at_ms / 1000, *row))
    return {seq: tuple(some) for seq, some in found.items()}


async def last_attempts(
    connection: Connection, seqs: Sequence[int], limit: int
) -> dict[tuple[int, str], tuple[AttemptFacts, ...]]:
    """Read the last attempts at each delivery of messages, the oldest of them first, by seq and sink."""
    rows = await connection.fetch(
        f"SELECT d.message, d.sink, {ATTEMPT} FROM deliveries d CROSS JOIN LATERAL (SELECT * FROM attempts a"
        " WHERE a.message = d.message AND a.sink = d.sink ORDER BY a.attempt DESC LIMIT $2) a"
        " WHERE d.message = ANY($1::bigint[]) ORDER BY d.message, d.sink, a.attempt",
        seqs,
        limit,
    )
    found: dict[tuple[int, str], tuple[AttemptFacts, ...]] = {}
    for seq, sink, *row in rows:
        found[seq, sink] = (*found.get((seq, sink), ()), attempt_of(row))
    return found


async def parts(connection: Connection, seqs: Sequence[int]) -> dict[tuple[int, str], JoinPart]:
    """Read which deliveries of some messages have a part in a joined message, by seq and sink."""
    rows = await connection.fetch(
        "SELECT j.message, j.sink, NULL, p.id, j.open FROM joins j LEFT JOIN messages p ON p.seq = j.partner"
        " WHERE j.message = ANY($1::bigint[])"
        " UNION ALL SELECT j.partner, j.sink, f.id, NULL, false FROM joins j JOIN messages f ON f.seq = j.message"
        " WHERE j.partner = ANY($1::bigint[])",
        seqs,
    )
    return {(seq, sink): JoinPart(told_by, tells, open_) for seq, sink, told_by, tells, open_ in rows}
