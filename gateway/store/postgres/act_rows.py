"""The acts of people in lists: those on deliveries, and those on sinks, the newest first."""

from __future__ import annotations

from gateway.core.documents import ActOnDelivery, ActOnSink
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection


async def acts_on_deliveries(connection: Connection, before: int | None, limit: int) -> list[ActOnDelivery]:
    """Read a page of the acts on deliveries before an id, at most `bounds.MOST_ACTS`."""
    query = "SELECT id, sink, at_ms, actor, claimed, act FROM acts WHERE id < $1 ORDER BY id DESC LIMIT $2"
    rows = await connection.fetch(query, bounds.END if before is None else before, min(limit, bounds.MOST_ACTS))
    return [ActOnDelivery(number, sink, at_ms / 1000, *row) for number, sink, at_ms, *row in rows]


async def acts_on_sinks(connection: Connection, before: int | None, limit: int) -> list[ActOnSink]:
    """Read a page of the acts on sinks before an id."""
    query = "SELECT id, at_ms, actor, claimed, act, subject, detail FROM sink_acts WHERE id < $1 ORDER BY id DESC LIMIT $2"
    rows = await connection.fetch(query, bounds.END if before is None else before, limit)
    return [ActOnSink(number, at_ms / 1000, *row) for number, at_ms, *row in rows]


async def keep_act(
    connection: Connection,
    changes: Changes,
    *,
    act: str,
    subject: str,
    now: float,
    actor: str,
    claimed: str | None,
    detail: str,
) -> int:
    """Keep an act on a sink, and forget those beyond the newest 10,000. Return its id."""
    made: int = await connection.fetchval(
        "INSERT INTO sink_acts (at_ms, actor, claimed, act, subject, detail) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        milliseconds(now),
        actor,
        claimed,
        act,
        subject,
        detail,
    )
    await connection.execute("DELETE FROM sink_acts WHERE id <= $1", made - bounds.MOST_SINK_ACTS)
    return made


async def end_act(connection: Connection, changes: Changes, *, id: int, detail: str) -> None:
    """Write down what came of an act; nothing happens if it is no longer kept."""
    await connection.execute("UPDATE sink_acts SET detail = $1 WHERE id = $2", detail, id)
