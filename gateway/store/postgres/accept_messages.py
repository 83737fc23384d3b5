"""Accepting messages, inside the writer's transaction, which has locked the service requests of the messages."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.core.outcome import Reason
from gateway.core.records import Accepted, Duplicate, NewMessage
from gateway.store.columns import blob, milliseconds
from gateway.store.counted import Changes
from gateway.store.ledger_state import Judged
from gateway.store.new_rows import delivery_rows, digest, fitting, identity_key, message_row, suppressed_rows
from gateway.store.postgres import joining, ordering, watch_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.delivery_rows import insert_discarded, insert_queued
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.many_columns import columns_of
from gateway.store.postgres.sink_rows import absences

MOST_ACCEPTED: Final = 4000
"""Rows of new messages in one commit, messages and deliveries together; a single message may have more."""
MOST_REPEATS: Final = 20
"""Repeats of a message that are kept with their instant; the others are only counted."""
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of bodies that one statement inserts; a single body may be larger."""
_COLUMNS: Final = (
    "id, source, sender_id, received_ms, event_ms, content_type, body, body_sha256, identity,"
    " event_type, milestone, sr_uuid, reference_id, status"
)
_INSERT: Final = (
    f"INSERT INTO messages (node, {_COLUMNS}) SELECT $1, {_COLUMNS} FROM unnest($2::uuid[], $3::text[], $4::bytea[],"
    " $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::text[], $13::bytea[],"
    f" $14::bytea[], $15::text[]) WITH ORDINALITY AS k ({_COLUMNS}, at) ORDER BY at ON CONFLICT DO NOTHING RETURNING id, seq"
)
_FIRST: Final = "SELECT seq, id, body, received_ms FROM messages WHERE source = $1 AND forgotten = 0 AND {} = $2"


async def accept(
    connection: Connection, batch: Sequence[NewMessage], node: int, retention: float, changes: Changes, ledger: PostgresLedger
) -> tuple[list[Accepted | Duplicate], dict[str, int]]:
    """Insert new messages with all their deliveries; find for each of the others the first message that it repeats.

    Each message is judged and then routed. Returns the results of the first messages: of so many that all have at most
    MOST_ACCEPTED rows, and of one message at least. The others have to wait for the next commit. Returns the earliest due time by
    sink of the deliveries that were queued or brought forward, too, in milliseconds.
    """
    if not batch:
        return [], {}
    judged = await ledger.judge(connection, batch)
    return await _accept_rows(connection, judged[: fitting(judged, MOST_ACCEPTED, first=True)], node, retention, changes, ledger)


async def _accept_rows(
    connection: Connection, judged: Sequence[Judged], node: int, retention: float, changes: Changes, ledger: PostgresLedger
) -> tuple[list[Accepted | Duplicate], dict[str, int]]:
    seqs: dict[str, int] = {}
    for part in _parts(judged):
        rows = [message_row(one) for one in part]
        seqs |= {row[0]: row[1] for row in await connection.fetch(_INSERT, node, *columns_of(rows, 14))}
    results: list[Accepted | Duplicate]
    if len(seqs) == len(judged):
        results = [Accepted(seqs[one.new.message.id]) for one in judged]
        accepted = [(one, seqs[one.new.message.id]) for one in judged]
    else:
        results = [await _accepted_or_first(connection, one, node, retention, seqs) for one in judged]
        accepted = await _judged_again(connection, judged, results, ledger)
    numbers = await ledger.enter(connection, accepted)
    joins = await joining.plan(connection, accepted, numbers)
    if companions := [companion for one, _ in accepted for companion in one.companions]:
        await watch_rows.keep(connection, companions)
    away = await absences(connection)
    owed = [row for one, seq in accepted for row in delivery_rows(one, seq, away, joins)]
    if any(row[4] is not None for row in owed):
        owed = await ordering.take(connection, owed)
    await insert_queued(connection, owed)
    came = {seq: milliseconds(one.new.message.received_at) for one, seq in accepted}
    ended = [(*row, Reason.STALE.value) for row in suppressed_rows(accepted)]
    ended += [(seq, sink, came[seq], Reason.JOINED.value) for seq, sink in sorted(joins.joined)]
    await insert_discarded(connection, ended)
    changes.update([(row[1], "queued") for row in owed])
    changes.update([(row[1], "discarded") for row in ended])
    forward = await joining.write(connection, joins, accepted)
    earliest: dict[str, int] = {}
    for sink, due_ms in [*((row[1], row[3]) for row in owed), *forward]:
        earliest[sink] = min(due_ms, earliest.get(sink, due_ms))
    results = [joins.accepted.get(one.seq, one) if isinstance(one, Accepted) else one for one in results]
    return results, earliest


def _parts(judged: Sequence[Judged]) -> Iterator[Sequence[Judged]]:
    """Cut messages into parts whose bodies have at most _MOST_BYTES together."""
    begin = size = 0
    for at, one in enumerate(judged):
        size += len(one.new.message.body)
        if size > _MOST_BYTES and at > begin:
            yield judged[begin:at]
            begin, size = at, len(one.new.message.body)
    yield judged[begin:]


async def _judged_again(
    connection: Connection, judged: Sequence[Judged], results: Sequence[Accepted | Duplicate], ledger: PostgresLedger
) -> list[tuple[Judged, int]]:
    """Judge the accepted messages again, without the duplicates among them, which happened already.

    The order is that of their seqs: a message that repeats one older than retention is inserted after the others.
    """
    accepted = [(one, result.seq) for one, result in zip(judged, results, strict=True) if isinstance(result, Accepted)]
    accepted.sort(key=operator.itemgetter(1))
    again = await ledger.judge(connection, [one.new for one, _ in accepted])
    for (before, seq), after in zip(accepted, again, strict=True):
        if before.owes.status != after.owes.status:
            await connection.execute("UPDATE messages SET status = $1 WHERE seq = $2", after.owes.status, seq)
    return [(after, seq) for after, (_, seq) in zip(again, accepted, strict=True)]


async def _accepted_or_first(
    connection: Connection, judged: Judged, node: int, retention: float, seqs: dict[str, int]
) -> Accepted | Duplicate:
    new = judged.new
    if (seq := seqs.get(new.message.id)) is not None:
        return Accepted(seq)
    for _ in range(2):
        if (duplicate := await _duplicate(connection, new, retention)) is not None:
            return duplicate
        # The message that it repeats is older than retention, and `_duplicate` has just marked that one as forgotten; or another
        # node purged it meanwhile.
        found = await connection.fetch(_INSERT, node, *columns_of([message_row(judged)], 14))
        if found:
            return Accepted(found[0][1])
    raise AssertionError("a message conflicts with none that can be found")


async def _duplicate(connection: Connection, new: NewMessage, retention: float) -> Duplicate | None:
    """Find the first message that this one repeats, by the sender's id, then by identity; None if retention has none."""
    message = new.message
    by_id = ("body_sha256", digest(message.body)) if message.sender_id is None else ("sender_id", message.sender_id.encode())
    for reason, (column, value) in (("message_id", by_id), ("identity", ("identity", identity_key(new.identity)))):
        first = None if value is None else await connection.fetchrow(_FIRST.format(column), message.source, value)
        if first is None:
            continue
        seq, first_id, first_body, received_ms = first
        if received_ms < milliseconds(message.received_at - retention):
            await connection.execute("UPDATE messages SET forgotten = seq WHERE seq = $1 AND forgotten = 0", seq)
            continue
        number = await connection.fetchval(
            "UPDATE messages SET duplicates = duplicates + 1 WHERE seq = $1 RETURNING duplicates", seq
        )
        if number is None:  # another node purged it in this very moment
            continue
        came = milliseconds(message.received_at)
        if number <= MOST_REPEATS:
            await connection.execute("INSERT INTO repeats VALUES ($1, $2, $3, $4)", seq, number, came, blob(message.sender_id))
        conflict = first_body != message.body
        if conflict:
            await connection.execute(
                "INSERT INTO conflicts (message, body_sha256, sender_id, received_ms, body) VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT DO NOTHING",
                seq,
                digest(message.body),
                blob(message.sender_id),
                came,
                message.body,
            )
        return Duplicate(first_id, "message_id" if reason == "message_id" else "identity", conflict)
    return None
