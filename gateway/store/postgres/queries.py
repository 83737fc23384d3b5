"""Answers to people about messages and deliveries. Each is one page of bounded cost, in few statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.documents import (
    AttemptFacts,
    Chosen,
    DeliverySummary,
    Ids,
    MessageSummary,
    ReceivedBody,
    RoutingPage,
    Story,
)
from gateway.core.evidence_file import EvidenceMessage
from gateway.core.selection import DeliveryState, Selection, Target
from gateway.store import bounds
from gateway.store.answers import EVIDENCE, STORY, evidence_of, story_of
from gateway.store.columns import (
    ATTEMPT,
    DELIVERY,
    IDS,
    attempt_of,
    delivery_of,
    facts_of,
    ids_of,
    milliseconds,
)
from gateway.store.postgres import kept_traces, paging
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of
from gateway.store.postgres.selecting import findable, whole_id

_AT_ONCE = 100
"""Messages whose deliveries are read at once: a message may be owed to hundreds of sinks."""


async def messages(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[MessageSummary], int | None]:
    """Read a page of messages in the order of acceptance, and the seq to go on after; see `paging`.

    The page also ends with the message that makes its deliveries more than `bounds.LOOKED_AT`.
    """
    return await _summaries(connection, *await paging.messages(connection, selection, seqs, after, limit))


async def newest_messages(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
) -> tuple[list[MessageSummary], int | None]:
    """Read a page of messages in the reverse order of acceptance, and the seq to go on before; as for `messages`."""
    return await _summaries(connection, *await paging.newest_messages(connection, selection, seqs, before, limit))


async def _summaries(connection: Connection, found: list[int], go_on: int | None) -> tuple[list[MessageSummary], int | None]:
    page: list[MessageSummary] = []
    read = 0
    query = f"SELECT m.seq, {IDS}, m.received_ms, m.status, m.duplicates FROM messages m WHERE m.seq = ANY($1::bigint[])"
    states = "SELECT message, sink, state FROM deliveries WHERE message = ANY($1::bigint[]) ORDER BY message, sink"
    for at in range(0, len(found), _AT_ONCE):
        some = found[at : at + _AT_ONCE]
        rows = {row[0]: row[1:] for row in await connection.fetch(query, some)}
        sinks: dict[int, dict[str, DeliveryState]] = {seq: {} for seq in some}
        for seq, sink, state in await connection.fetch(states, some):
            sinks[seq][sink] = state
        for seq in some:
            if (row := rows.get(seq)) is None:  # purged since
                continue
            page.append(MessageSummary(ids_of(row[:7]), row[7] / 1000, row[8], row[9], sinks[seq]))
            read += len(sinks[seq])
            if read > bounds.LOOKED_AT and seq != found[-1]:
                return page, seq
    return page, go_on


async def deliveries(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int
) -> tuple[list[DeliverySummary], Target | None]:
    """Read a page of deliveries by message, then sink, and the one to go on after; see `paging`."""
    found, go_on = await paging.deliveries(connection, selection, seqs, after, limit)
    rows = await connection.fetch(
        f"SELECT d.message, {IDS}, m.received_ms, {DELIVERY} FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY"
        " AS of (message, sink, place) JOIN deliveries d ON d.message = of.message AND d.sink = of.sink"
        " JOIN messages m ON m.seq = d.message ORDER BY of.place",
        *keys_of(found),
    )
    parts = await kept_traces.parts(connection, [target.seq for target in found])
    return [
        DeliverySummary(ids_of(row[1:8]), row[8] / 1000, delivery_of(row[9:], parts.get((row[0], row[9])))) for row in rows
    ], go_on


async def chosen(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[Chosen], int | None]:
    """Read a slice of the messages that a selection names, and the seq to go on after; see `paging`."""
    found, go_on = await paging.messages(connection, selection, seqs, after, limit)
    rows = await connection.fetch(
        "SELECT m.seq, m.source, m.status, e.facts FROM messages m LEFT JOIN entries e ON e.message = m.seq"
        " WHERE m.seq = ANY($1::bigint[]) ORDER BY m.seq",
        found,
    )
    return [Chosen(seq, source, status == "quarantined", facts_of(facts)) for seq, source, status, facts in rows], go_on


async def body(connection: Connection, seq: int) -> bytes | None:
    """Read the body of one message; None if it was purged."""
    found: bytes | None = await connection.fetchval("SELECT body FROM messages WHERE seq = $1", seq)
    return found


async def states(connection: Connection, targets: Sequence[Target]) -> list[DeliveryState | None]:
    """Read the state of each delivery; None if there is no such delivery yet."""
    rows = await connection.fetch(
        "SELECT d.state FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS of (message, sink, place)"
        " LEFT JOIN deliveries d ON d.message = of.message AND d.sink = of.sink ORDER BY of.place",
        *keys_of(targets),
    )
    return [state for (state,) in rows]


async def owed(connection: Connection, seqs: Sequence[int], sink: str | None) -> list[Target]:
    """Read every delivery of some messages, or only those to one sink."""
    of_sink = None if sink is None else findable(sink)
    query = "SELECT message, sink FROM deliveries WHERE message = ANY($1::bigint[]) AND sink = coalesce($2, sink)"
    return [Target(seq, sink) for seq, sink in await connection.fetch(f"{query} ORDER BY message, sink", seqs, of_sink)]


async def ids(connection: Connection, targets: Sequence[Target]) -> dict[int, Ids]:
    """Read the ids of the messages of some deliveries, by seq."""
    query = f"SELECT m.seq, {IDS} FROM messages m WHERE m.seq = ANY($1::bigint[])"
    return {row[0]: ids_of(row[1:]) for row in await connection.fetch(query, sorted({target.seq for target in targets}))}


async def first_since(connection: Connection, instant: float) -> int:
    """Find the seq of about the first message received since an instant, by halving.

    Messages lie in the order of arrival, except around an instant at which the clock was set back.
    """
    return int(
        await connection.fetchval(
            "WITH RECURSIVE halving (low, high) AS (SELECT 1::bigint, coalesce(max(seq), 0) + 1 FROM messages UNION ALL"
            " SELECT CASE WHEN next.received_ms < $1 THEN next.seq + 1 ELSE low END,"
            " CASE WHEN next.received_ms < $1 THEN high ELSE (low + high) / 2 END FROM halving"
            " LEFT JOIN LATERAL (SELECT seq, received_ms FROM messages WHERE seq >= (low + high) / 2 ORDER BY seq LIMIT 1) next"
            " ON true WHERE low < high) SELECT max(low) FROM halving",
            milliseconds(instant),
        )
    )


async def received_since(connection: Connection, instant: float, after: int, limit: int, most_bytes: int) -> RoutingPage:
    """Read a page of the messages after a seq that could be decoded; see `paging`.

    The page ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
    """
    newest = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM messages")
    last = await paging.last_of_the_next(connection, after)
    rows = await connection.fetch(
        "SELECT seq, id, source, body, facts, so_far FROM (SELECT m.seq, m.id, m.source, m.body, e.facts,"
        " sum(octet_length(m.body)) OVER (ORDER BY m.seq ROWS UNBOUNDED PRECEDING) AS so_far"
        " FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq > $1 AND m.seq <= $2 AND m.received_ms >= $3"
        " AND m.status <> 'quarantined' ORDER BY m.seq LIMIT $4) page WHERE so_far - octet_length(body) <= $5 ORDER BY seq",
        after,
        newest if last is None else last,
        milliseconds(instant),
        limit,
        most_bytes,
    )
    page = tuple(ReceivedBody(message_id, source, body, facts_of(facts)) for _, message_id, source, body, facts, _ in rows)
    full = bool(rows) and (len(rows) == limit or rows[-1][5] > most_bytes)
    return RoutingPage(page, rows[-1][0] if full else last, newest)


async def story(connection: Connection, seq: int) -> Story | None:
    """Read one message, its deliveries with their last attempts, and some conflicting duplicates.

    Returns None if the message was purged.
    """
    row = await connection.fetchrow(
        f"SELECT {STORY} FROM messages m LEFT JOIN entries e ON e.message = m.seq WHERE m.seq = $1", seq
    )
    if row is None:
        return None
    conflicts = await connection.fetch(
        "SELECT received_ms, sender_id, body FROM (SELECT * FROM conflicts WHERE message = $1 LIMIT $2) earliest"
        " ORDER BY received_ms, body_sha256 LIMIT $3",
        seq,
        bounds.CONFLICTS_ORDERED,
        bounds.MOST_CONFLICTS + 1,
    )
    return story_of(
        seq,
        row,
        deliveries=await connection.fetch(f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = $1 ORDER BY d.sink", seq),
        parts=await kept_traces.parts(connection, [seq]),
        attempts=await kept_traces.last_attempts(connection, [seq], bounds.MOST_ATTEMPTS),
        conflicts=conflicts,
        repeats=(await kept_traces.repeats(connection, [seq])).get(seq, ()),
        acts=(await kept_traces.acts(connection, [seq])).get(seq, ()),
    )


async def evidence(connection: Connection, seq: int) -> EvidenceMessage | None:
    """Read a message with its raw body, and its deliveries; None if it was purged."""
    row = await connection.fetchrow(
        f"SELECT {EVIDENCE} FROM messages m LEFT JOIN entries e ON e.message = m.seq LEFT JOIN rules r ON r.number = e.rules"
        " WHERE m.seq = $1",
        seq,
    )
    if row is None:
        return None
    query = f"SELECT {DELIVERY} FROM deliveries d WHERE d.message = $1 ORDER BY d.sink"
    return evidence_of(row, map(delivery_of, await connection.fetch(query, seq)))


async def attempts(connection: Connection, seq: int, sink: str, after: int, limit: int) -> tuple[list[AttemptFacts], int | None]:
    """Read a page of the attempts at one delivery, oldest first, and the number of the attempt to go on after.

    Args:
        after: the number of an attempt; 0 begins.
    """
    rows = await connection.fetch(
        f"SELECT {ATTEMPT} FROM attempts a WHERE a.message = $1 AND a.sink = $2 AND a.attempt > $3 ORDER BY a.attempt LIMIT $4",
        seq,
        findable(sink),
        after,
        limit + 1,
    )
    page = [attempt_of(row) for row in rows[:limit]]
    return page, page[-1].number if len(rows) > limit else None


async def attempt(connection: Connection, seq: int, sink: str, number: int) -> AttemptFacts | None:
    """Read one attempt at a delivery; None if it was purged."""
    query = f"SELECT {ATTEMPT} FROM attempts a WHERE a.message = $1 AND a.sink = $2 AND a.attempt = $3"
    row = await connection.fetchrow(query, seq, sink, number)
    return None if row is None else attempt_of(row)


async def seq_of(connection: Connection, message_id: str) -> int | None:
    """Read the seq of a message; None if there is no such message."""
    seq: int | None = await connection.fetchval("SELECT seq FROM messages WHERE id = $1", whole_id(message_id))
    return seq


def keys_of(targets: Sequence[Target]) -> list[list[Any]]:
    """Return the seqs and the sinks of deliveries, as a statement takes them."""
    return columns_of([(target.seq, findable(target.sink)) for target in targets], 2)
