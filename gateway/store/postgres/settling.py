"""Settling deliveries, inside the writer's transaction, which has locked their service requests if they are ordered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.core.records import Settlement
from gateway.store.counted import Changes
from gateway.store.new_rows import attempt_row, settled_row
from gateway.store.postgres import ordering
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of
from gateway.store.turns import Turn

_SETTLE: Final = (
    "UPDATE deliveries d SET state = k.state, attempts = coalesce(k.attempts, d.attempts), retries = k.retries,"
    " due_ms = k.due_ms, ended_ms = k.ended_ms, reason = k.reason"
    " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])"
    " AS k (message, sink, state, attempts, retries, due_ms, ended_ms, reason)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state = 'queued' RETURNING d.message, d.sink, d.sr"
)
# A delivery that a person discarded may even be purged by now, and then nothing is left that an attempt could belong to.
_ATTEMPTS: Final = (
    "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, reason, status, detail, answer)"
    " SELECT k.* FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],"
    " $8::integer[], $9::text[], $10::text[]) AS k (message, sink, attempt, started, duration, outcome, reason, status, detail,"
    " answer) JOIN deliveries d ON d.message = k.message AND d.sink = k.sink ON CONFLICT DO NOTHING"
)


async def settle(connection: Connection, batch: Sequence[Settlement], changes: Changes) -> list[bool]:
    """Move deliveries out of `queued`, or to their next due time; False for each that is no longer `queued`."""
    if len({(one.seq, one.sink) for one in batch}) < len(batch):
        return [held for one in batch for held in await _settle_different(connection, [one], changes)]
    return await _settle_different(connection, batch, changes)


async def _settle_different(connection: Connection, batch: Sequence[Settlement], changes: Changes) -> list[bool]:
    if not batch:
        return []
    # In one order, so that two nodes that settle the same deliveries wait for each other and do not deadlock.
    rows = sorted([settled_row(one) for one in batch], key=lambda row: (row[0], row[1]))
    moved = await connection.fetch(_SETTLE, *columns_of(rows, 8))
    in_time: dict[tuple[int, str], bytes | None] = {(seq, sink): sr for seq, sink, sr in moved}
    if attempts := [_without_nul(attempt_row(one, one.attempt)) for one in batch if one.attempt is not None]:
        await connection.execute(_ATTEMPTS, *columns_of(attempts, 10))
    left: list[Turn] = []
    for one in batch:
        if one.transition.state != "queued" and (one.seq, one.sink) in in_time:
            changes[one.sink, "queued"] -= 1
            changes[one.sink, one.transition.state] += 1
            if (sr := in_time[one.seq, one.sink]) is not None:
                left.append((one.sink, sr))
    await ordering.pass_on(connection, left)
    return [(one.seq, one.sink) in in_time for one in batch]


def _without_nul(row: Sequence[Any]) -> list[Any]:
    """Replace NUL in texts, which PostgreSQL does not take: what the other side says may hold anything."""
    return [value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value for value in row]
