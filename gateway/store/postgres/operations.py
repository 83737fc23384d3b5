"""Changes of deliveries at a person's word or by the passing of time, inside the writer's transaction, in slices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.core.records import Step
from gateway.core.selection import Act, Target
from gateway.store.absences import Absences
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres import ordering, unlogged
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.delivery_rows import find
from gateway.store.postgres.many_columns import columns_of, number_of
from gateway.store.postgres.request_locks import lock_of_messages
from gateway.store.postgres.sink_rows import absences

_REOPEN: Final = (
    "UPDATE deliveries d SET state = 'queued', retries = 0, since_ms = k.since_ms, due_ms = k.due_ms, ended_ms = NULL,"
    " reason = NULL, replayed = true, sr = NULL, event_ms = NULL, behind = false"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS k (message, sink, since_ms, due_ms)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state = ANY($5::text[])"
)
# A message that was purged meanwhile gets no delivery.
_ADD: Final = (
    "INSERT INTO deliveries (message, sink, state, since_ms, due_ms, replayed)"
    " SELECT m.seq, k.sink, 'queued', k.since_ms, k.due_ms, true"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS k (message, sink, since_ms, due_ms)"
    " JOIN messages m ON m.seq = k.message ON CONFLICT DO NOTHING RETURNING message, sink"
)
_DISCARD: Final = (
    "UPDATE deliveries d SET state = 'discarded', due_ms = NULL, ended_ms = $3"
    " FROM unnest($1::bigint[], $2::text[]) AS k (message, sink)"
    " WHERE d.message = k.message AND d.sink = k.sink AND d.state IN ('queued', 'dead')"
)
_ACTS: Final = (
    "INSERT INTO acts (message, sink, at_ms, actor, claimed, act, was, becomes)"
    " SELECT k.message, k.sink, k.at_ms, k.actor, k.claimed, $1, k.was, $2 FROM unnest($3::bigint[], $4::text[], $5::bigint[],"
    " $6::text[], $7::text[], $8::text[]) WITH ORDINALITY AS k (message, sink, at_ms, actor, claimed, was, at) ORDER BY k.at"
)
_CLAMP: Final = (
    "UPDATE deliveries d SET due_ms = $2 FROM (SELECT message FROM deliveries WHERE sink = $1 AND state = 'queued'"
    " AND behind = $3 AND due_ms > $2 LIMIT $4 FOR UPDATE) AS late WHERE d.sink = $1 AND d.message = late.message"
)


async def reopen(
    connection: Connection, targets: Sequence[Target], states: Sequence[str], now: float, changes: Changes
) -> list[Target]:
    """Queue deliveries again that are in one of these states, with a fresh budget. Returns the changed ones."""
    wanted = {(target.seq, target.sink): target for target in targets}
    found = [row for row in await find(connection, list(wanted), locked=True) if row[3] in states]
    away = await absences(connection)
    rows = [(*_begins(wanted[row[0], row[1]], now, away),) for row in found]
    await connection.execute(_REOPEN, *columns_of(rows, 4), list(states))
    changes.subtract((sink, state) for _, sink, _, state, _ in found)
    changes.update((sink, "queued") for _, sink, *_ in found)
    return [wanted[seq, sink] for seq, sink, *_ in found]


async def add(connection: Connection, targets: Sequence[Target], now: float, changes: Changes) -> list[Target]:
    """Make deliveries that do not exist yet, one per message and sink. Returns the new ones."""
    wanted = {(target.seq, target.sink): target for target in targets}
    away = await absences(connection)
    rows = [_begins(target, now, away) for target in wanted.values()]
    made = [(row[0], row[1]) for row in await connection.fetch(_ADD, *columns_of(rows, 4))]
    await connection.execute(
        "UPDATE messages SET status = 'accepted' WHERE seq = ANY($1::bigint[]) AND status <> 'accepted'",
        sorted({seq for seq, _ in made}),
    )
    changes.update((sink, "queued") for _, sink in made)
    return [wanted[key] for key in made]


async def add_or_reopen(
    connection: Connection, targets: Sequence[Target], states: Sequence[str], now: float, changes: Changes
) -> list[Target]:
    """Make the deliveries that do not exist, and queue those again that are in one of these states. Returns the changed ones."""
    made = await add(connection, targets, now, changes)
    there = set(targets) - set(made)
    return made + await reopen(connection, [target for target in targets if target in there], states, now, changes)


async def discard(connection: Connection, targets: Sequence[Target], now: float, changes: Changes) -> list[Target]:
    """End deliveries that are queued or dead, at a person's word. Returns the changed ones."""
    wanted = {(target.seq, target.sink): target for target in targets}
    found = [row for row in await find(connection, list(wanted), locked=True) if row[3] in ("queued", "dead")]
    await connection.execute(_DISCARD, *columns_of([row[:2] for row in found], 2), milliseconds(now))
    changes.subtract((sink, state) for _, sink, _, state, _ in found)
    changes.update((sink, "discarded") for _, sink, *_ in found)
    await ordering.pass_on(connection, [(sink, sr) for _, sink, _, state, sr in found if state == "queued" and sr is not None])
    return [wanted[seq, sink] for seq, sink, *_ in found]


async def by_person(
    connection: Connection,
    changes: Changes,
    *,
    targets: Sequence[Target],
    change: Callable[..., Awaitable[list[Target]]],
    step: Callable[..., Step],
    act: Act,
    node: int,
) -> list[Target]:
    """Change deliveries; keep the act, and a step for the audit log, of each changed one in the same transaction."""
    await lock_of_messages(connection, {one.seq for one in targets})
    keys = [(one.seq, one.sink) for one in targets]
    was = {(seq, sink): state for seq, sink, _, state, _ in await find(connection, keys, locked=True)}
    changed = await change(connection, targets=targets, changes=changes)
    steps = [step(seq=one.seq, sink=one.sink) for one in changed]
    await unlogged.note(connection, node, steps)
    rows = [(one.seq, one.sink, one.at_ms, one.actor, one.claimed, was.get((one.seq, one.sink))) for one in steps]
    await connection.execute(_ACTS, act, "queued" if act == "replay" else "discarded", *columns_of(rows, 6))
    return changed


async def touch(connection: Connection, changes: Changes) -> None:
    """Change nothing that is kept: the count of commits is written in any case, and that shows whether the disk takes it."""


async def clamp_due(connection: Connection, changes: Changes, *, sink: str, latest: float, size: int) -> int:
    """Bring up to `size` due times beyond `latest` back to it: no delivery waits longer than the longest backoff.

    Returns the number of changed deliveries.
    """
    late = 0
    for behind in (False, True):
        late += number_of(await connection.execute(_CLAMP, sink, milliseconds(latest), behind, size - late))
    return late


def _begins(target: Target, now: float, away: Absences) -> tuple[int, str, int, int]:
    """Return message, sink, since_ms and due_ms of a delivery that a person queues at an instant of the store's own time."""
    return target.seq, target.sink, away.since(target.sink, milliseconds(now)), milliseconds(now + target.wait)
