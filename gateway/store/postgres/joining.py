"""Joins: the two events of one rejection that go out as one message, see `store.join_plan`.

Each transaction that changes a join holds the lock of its service request, or of the row: a partner is never linked to a closed
join.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gateway.core.outcome import Reason
from gateway.core.records import Message
from gateway.store.columns import MESSAGE_COLUMNS, message_of, milliseconds
from gateway.store.counted import Changes
from gateway.store.join_plan import NO_JOINS, First, JoinKey, Plan, planned, wanted_joins
from gateway.store.ledger_state import Judged
from gateway.store.new_rows import DeliveryRow
from gateway.store.postgres import ordering
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.delivery_rows import insert_queued
from gateway.store.postgres.many_columns import columns_of
from gateway.store.postgres.request_locks import lock_of_messages
from gateway.store.postgres.sink_rows import absences

_KEYS: Final = "unnest($1::bigint[], $2::integer[], $3::text[]) AS k (request, round, sink)"
_OF_KEYS: Final = "j.request = k.request AND j.round = k.round AND j.sink = k.sink"
_LOCK: Final = f"SELECT 1 FROM {_KEYS} JOIN joins j ON {_OF_KEYS} FOR UPDATE OF j"
_FIRSTS: Final = (
    "SELECT j.request, j.round, j.sink, j.message, m.id, m.milestone,"
    " j.open AND d.message IS NOT NULL AND d.state = 'queued' AND NOT d.replayed"
    f" FROM {_KEYS} JOIN joins j ON {_OF_KEYS}"
    " JOIN messages m ON m.seq = j.message LEFT JOIN deliveries d ON d.message = j.message AND d.sink = j.sink"
)
_OPEN: Final = (
    "INSERT INTO joins (request, round, sink, message, partner, open) SELECT *"
    " FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[])"
)
_LINK: Final = (
    "UPDATE joins j SET partner = k.partner, open = false"
    f" FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[]) AS k (request, round, sink, partner) WHERE {_OF_KEYS}"
)
_BRING_FORWARD: Final = (
    "UPDATE deliveries d SET due_ms = least(d.due_ms, k.due_ms)"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS k (message, sink, due_ms)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state = 'queued'"
)


async def plan(connection: Connection, accepted: Sequence[tuple[Judged, int]], numbers: Sequence[int | None]) -> Plan:
    """Decide which of the accepted messages wait at a sink, and which are told with one that waits; see `join_plan`."""
    wanted = wanted_joins(accepted, numbers)
    return planned(wanted, await _firsts(connection, {one.key for one in wanted})) if wanted else NO_JOINS


async def write(connection: Connection, plan: Plan, accepted: Sequence[tuple[Judged, int]]) -> list[tuple[str, int]]:
    """Write what was planned, after the messages and the deliveries of the same transaction.

    The deliveries that are told by another one were written as discarded.
    Returns sink and due time of the deliveries that are brought forward.
    """
    if not plan.accepted:
        return []
    new = [(*key, seq, plan.linked.get(key, (0, None))[1], key not in plan.linked) for key, seq in plan.opened.items()]
    await connection.execute(_OPEN, *columns_of(new, 6))
    older = [(*key, partner) for key, (_, partner) in plan.linked.items() if key not in plan.opened]
    await connection.execute(_LINK, *columns_of(older, 4))
    due = {(seq, sink): milliseconds(due) for one, seq in accepted for sink, due in one.owes.deliveries}
    forward = [(first, key[2], due[partner, key[2]]) for key, (first, partner) in plan.linked.items()]
    await connection.execute(_BRING_FORWARD, *columns_of(forward, 3))
    return [(sink, due_ms) for _, sink, due_ms in forward]


async def close(connection: Connection, changes: Changes, *, seq: int, sink: str) -> Message | None:
    """Let nothing more be told with a delivery. Returns the message that is told with it; None if it goes out alone.

    The answer stays the same, however often it is asked for.
    """
    await connection.execute("UPDATE joins SET open = false WHERE message = $1 AND sink = $2 AND open", seq, sink)
    row = await connection.fetchrow(
        f"SELECT {MESSAGE_COLUMNS} FROM joins j JOIN messages m ON m.seq = j.partner WHERE j.message = $1 AND j.sink = $2",
        seq,
        sink,
    )
    return None if row is None else message_of(tuple(row))


async def part(connection: Connection, changes: Changes, *, seq: int, sink: str, now: float) -> bool:
    """Let a delivery go out alone, and queue the one that it would have told. Returns False if it would have told none."""
    await lock_of_messages(connection, [seq])
    row = await connection.fetchrow(
        "SELECT m.seq, nullif(m.sr_uuid, ''), m.event_ms, s.in_order FROM joins j JOIN messages m ON m.seq = j.partner"
        " LEFT JOIN sinks s ON s.sink = j.sink WHERE j.message = $1 AND j.sink = $2",
        seq,
        sink,
    )
    await connection.execute("UPDATE joins SET open = false, partner = NULL WHERE message = $1 AND sink = $2", seq, sink)
    if row is None:
        return False
    partner, sr, event_ms, in_order = row
    gone = await connection.fetchval(
        "DELETE FROM deliveries WHERE message = $1 AND sink = $2 AND state = 'discarded' AND reason = $3"
        " AND NOT replayed RETURNING 1",  # a person may have replayed it
        partner,
        sink,
        Reason.JOINED.value,
    )
    if gone is None:
        return False
    since_ms, due_ms = (await absences(connection)).since(sink, milliseconds(now)), milliseconds(now)
    turn = (sr, event_ms) if in_order and sr is not None else (None, None)
    new: DeliveryRow = (partner, sink, since_ms, due_ms, *turn, 0)
    await insert_queued(connection, await ordering.take(connection, [new]) if turn != (None, None) else [new])
    changes.subtract([(sink, "discarded")])
    changes.update([(sink, "queued")])
    return True


async def is_still_owed(connection: Connection, seq: int) -> bool:
    """Return True if a delivery of another message has to tell this one, and has not done so yet."""
    query = (
        "SELECT 1 FROM joins j JOIN deliveries d ON d.message = j.message AND d.sink = j.sink"
        " WHERE j.partner = $1 AND d.state IN ('queued', 'dead') LIMIT 1"
    )
    return await connection.fetchval(query, seq) is not None


async def _firsts(connection: Connection, keys: Collection[JoinKey]) -> dict[JoinKey, First]:
    columns = columns_of(sorted(keys), 3)
    await connection.execute(_LOCK, *columns)  # and then read, because a close may have been waited for
    rows = await connection.fetch(_FIRSTS, *columns)
    return {(row[0], row[1], row[2]): First(row[3], row[4], row[5], row[6]) for row in rows}
