"""Writing down what messages mean that were not understood when they came."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.documents import Redecoded, Redecoding
from gateway.core.watches import Entering
from gateway.store.columns import UNDECODED, blob, milliseconds
from gateway.store.counted import Changes
from gateway.store.new_rows import identity_key
from gateway.store.postgres import rejudging, watch_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.request_locks import lock_for_batch, lock_of_messages
from gateway.store.standing_timers import Since


async def redecode(
    connection: Connection, changes: Changes, *, decoded: Sequence[Redecoding], ledger: PostgresLedger, since: Since
) -> list[Redecoded]:
    """Write what is known of messages now, and judge them. Returns those that were still undecoded.

    A quarantined message has the status `unrouted` then.
    """
    await lock_of_messages(connection, [one.seq for one in decoded])
    await lock_for_batch(connection, [one.event.sr_uuid.encode() for one in decoded if one.event.sr_uuid], ())
    changed: list[Redecoded] = []
    times: list[Entering] = []
    for one in decoded:
        event = one.event
        if not await connection.fetchval(f"SELECT 1 FROM messages m WHERE m.seq = $1 AND {UNDECODED} FOR UPDATE", one.seq):
            continue
        old = await rejudging.leave(connection, ledger, await rejudging.read(connection, one.seq), event)
        await connection.execute(
            "UPDATE messages SET event_type = $1, milestone = $2, sr_uuid = $3, reference_id = $4,"
            " event_ms = coalesce($5, event_ms),"
            " status = CASE status WHEN 'quarantined' THEN 'unrouted' ELSE status END WHERE seq = $6",
            blob(event.event_type),
            event.milestone.value,
            blob(event.sr_uuid),
            blob(event.reference_id),
            None if (at := event.instant()) is None else milliseconds(at),
            one.seq,
        )
        # Another message may have come with this identity meanwhile, and then only the sender's ids tell duplicates.
        await connection.execute(
            "UPDATE messages m SET identity = $1 WHERE seq = $2 AND NOT EXISTS (SELECT 1 FROM messages o"
            " WHERE o.identity = $1 AND o.source = m.source AND o.forgotten = m.forgotten AND o.seq <> m.seq)",
            identity_key(one.identity),
            one.seq,
        )
        facts = None
        if old is not None:
            facts, begun = await rejudging.judge_again(connection, ledger, old, event, since)
            times += begun
        changed.append(Redecoded(one.seq, facts))
    await watch_rows.keep(connection, times)
    return changed
