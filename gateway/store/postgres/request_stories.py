"""The story of one service request: its messages by the chain of their entries, with what became of each at each sink."""

from __future__ import annotations

from typing import Final

from gateway.core.request_documents import RequestStory, TracedEvent
from gateway.store import bounds
from gateway.store.answers import EVENT, event_of
from gateway.store.columns import DELIVERY
from gateway.store.hot_rows import Key, Standing
from gateway.store.postgres import kept_traces, request_lookup
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.request_questions import known

_EVENTS: Final = f"SELECT m.seq, {EVENT} FROM messages m JOIN entries e ON e.message = m.seq WHERE m.seq = ANY($1::bigint[])"
_DELIVERIES: Final = (
    f"SELECT d.message, {DELIVERY} FROM deliveries d WHERE d.message = ANY($1::bigint[]) ORDER BY d.message, d.sink"
)
_OWED: Final = "SELECT message, count(*) FROM deliveries WHERE message = ANY($1::bigint[]) GROUP BY message"


async def story(connection: Connection, number: int, before: int | None, limit: int) -> RequestStory | None:
    """Read a page of the story of a request; None if there is no such request."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):  # one snapshot for all queries
        found = await request_lookup.numbered(connection, [number])
        return None if not found else await _story(connection, *next(iter(found.items())), before, limit)


async def _story(connection: Connection, key: Key, row: Standing, before: int | None, limit: int) -> RequestStory:
    start = row.last if before is None else await _before(connection, before)
    chain = [] if start is None else await request_lookup.chain(connection, start, limit)
    seqs = await _few(connection, chain)
    events = await _events(connection, seqs)
    go_on = None
    purged = False
    if seqs and (older := await _before(connection, seqs[-1])) is not None:
        there = await connection.fetchval("SELECT EXISTS (SELECT FROM entries WHERE message = $1)", older)
        go_on, purged = (seqs[-1], False) if there else (None, True)
    events.sort(key=lambda event: (event.happened_at, event.seq))
    (request,) = await known(connection, [(key, row)])
    return RequestStory(request, tuple(events), go_on, purged)


async def _before(connection: Connection, seq: int) -> int | None:
    """Read the seq of the request's message before one; None if that was the first."""
    before: int | None = await connection.fetchval("SELECT before FROM entries WHERE message = $1", seq)
    return before


async def _few(connection: Connection, chain: list[int]) -> list[int]:
    """Return the first messages of a chain, up to the one that makes their deliveries more than `bounds.MOST_DELIVERIES`."""
    owed = {row[0]: row[1] for row in await connection.fetch(_OWED, chain)}
    deliveries = 0
    for at, seq in enumerate(chain):
        deliveries += owed.get(seq, 0)
        if deliveries > bounds.MOST_DELIVERIES:
            return chain[: at + 1]
    return chain


async def _events(connection: Connection, seqs: list[int]) -> list[TracedEvent]:
    deliveries: dict[int, list[tuple[object, ...]]] = {}
    for row in await connection.fetch(_DELIVERIES, seqs):
        deliveries.setdefault(row[0], []).append(row[1:])
    parts = await kept_traces.parts(connection, seqs)
    attempts = await kept_traces.last_attempts(connection, seqs, 1)
    repeats, acts = await kept_traces.repeats(connection, seqs), await kept_traces.acts(connection, seqs)
    return [
        event_of(
            row[0],
            row[1:],
            deliveries=deliveries.get(row[0], ()),
            parts=parts,
            attempts=attempts,
            repeats=repeats.get(row[0], ()),
            acts=acts.get(row[0], ()),
        )
        for row in await connection.fetch(_EVENTS, seqs)
    ]
