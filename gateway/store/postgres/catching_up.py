"""Reading the messages that a node accepted: completing its audit log needs them."""

from __future__ import annotations

from typing import Final

from gateway.core.documents import KeptMessage
from gateway.core.outcome import Reason
from gateway.core.records import Joined
from gateway.store.columns import MESSAGE_COLUMNS, SIGNED_COLUMNS, message_of, signed_of
from gateway.store.postgres.connection import Connection

_MESSAGES: Final = (
    f"SELECT m.seq, m.status, {SIGNED_COLUMNS}, {MESSAGE_COLUMNS} FROM messages m LEFT JOIN entries e ON e.message = m.seq"
    " WHERE m.seq > $1 AND m.node = $2 ORDER BY m.seq LIMIT $3"
)
_SINKS: Final = (
    "SELECT d.message, d.sink, d.state = 'discarded' AND d.reason = $2 AND d.attempts = 0"
    " FROM deliveries d WHERE d.message = ANY($1::bigint[]) ORDER BY d.message, d.sink"
)
_JOINED: Final = (
    "SELECT j.partner, j.sink, m.id FROM joins j JOIN messages m ON m.seq = j.message"
    " JOIN deliveries d ON d.message = j.partner AND d.sink = j.sink"
    " WHERE j.partner = ANY($1::bigint[]) AND d.state = 'discarded' AND d.reason = $2 ORDER BY j.partner, j.sink"
)


async def messages_after(connection: Connection, node: int, seq: int, limit: int) -> list[KeptMessage]:
    """Read a page of the messages of a node in the order of acceptance."""
    rows = await connection.fetch(_MESSAGES, seq, node, limit)
    seqs = [row[0] for row in rows]
    sinks: dict[int, list[str]] = {}
    suppressed: dict[int, list[str]] = {}
    for message, sink, was_suppressed in await connection.fetch(_SINKS, seqs, Reason.STALE.value):
        (suppressed if was_suppressed else sinks).setdefault(message, []).append(sink)
    joined: dict[int, list[Joined]] = {}
    for message, *one in await connection.fetch(_JOINED, seqs, Reason.JOINED.value):
        joined.setdefault(message, []).append(Joined(*one))
    return [
        KeptMessage(
            row[0],
            row[1],
            message_of(tuple(row)[4:]),
            _of(sinks, row[0]),
            _of(suppressed, row[0]),
            tuple(joined.get(row[0], ())),
            signed_of(row[2], row[3]),
        )
        for row in rows
    ]


def _of(found: dict[int, list[str]], seq: int) -> tuple[str, ...]:
    return tuple(found.get(seq, ()))
