"""Pages of messages and deliveries, of bounded cost as `store.bounds` says.

Where PostgreSQL could choose a plan that reads everything, a part of the statement is MATERIALIZED: it reads its few rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.selection import Selection, Target
from gateway.store import bounds
from gateway.store.postgres import arrivals
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.selecting import Values, conditions, findable, of_status, window

_IN_WINDOW: Final = (
    "SELECT {}(block) FROM generate_series($1::bigint, $2::bigint) AS block CROSS JOIN LATERAL (SELECT FROM messages m"
    " WHERE m.seq >> 8 = block AND m.received_ms >= $3 AND m.received_ms < $4 LIMIT 1) found"
)
"""The first, or the last, of some blocks of `messages_by_time` that has a message of a window of time."""


async def messages(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[int], int | None]:
    """Find the next messages that a selection names, at most `limit`, by seq; and the seq to go on after."""
    start, go_on = (after, None) if seqs is not None else await begin(connection, selection, after)
    if start is None:
        return [], go_on
    last = None if seqs is not None else await _last_message(connection, selection, start)
    values = Values()
    query = (
        f"SELECT m.seq FROM messages m WHERE m.seq > {values(start)} AND m.seq <= {values(bounds.END if last is None else last)}"
    )
    query += f"{conditions(selection, seqs, values, status=True)} ORDER BY m.seq LIMIT {values(limit)}"
    found = [seq for (seq,) in await connection.fetch(query, *values)]
    return found, found[-1] if len(found) == limit else last


async def newest_messages(
    connection: Connection, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
) -> tuple[list[int], int | None]:
    """Find the messages that a selection names before a seq, at most `limit`, the newest first; and the seq to go on before.

    Args:
        before: None begins with the newest message.
    """
    begun = bounds.END if before is None else before
    start, go_on = (begun, None) if seqs is not None else await _begin_down(connection, selection, begun)
    if start is None:
        return [], go_on
    last = None if seqs is not None else await _last_message_down(connection, selection, start)
    values = Values()
    query = f"SELECT m.seq FROM messages m WHERE m.seq < {values(start)} AND m.seq >= {values(0 if last is None else last)}"
    query += f"{conditions(selection, seqs, values, status=True)} ORDER BY m.seq DESC LIMIT {values(limit)}"
    found = [seq for (seq,) in await connection.fetch(query, *values)]
    return found, found[-1] if len(found) == limit else last


async def begin(connection: Connection, selection: Selection, after: int) -> tuple[int | None, int | None]:
    """Find the seq before the next block that has a message of the window of time.

    If the page finds no such block: None, and the seq to go on after (None if there is none behind).
    """
    if selection.since is None and selection.until is None:
        return after, None
    since, until = window(selection)
    next_block, newest = await connection.fetchrow(
        "SELECT (SELECT seq >> 8 FROM messages WHERE seq > $1 ORDER BY seq LIMIT 1), (SELECT max(seq) >> 8 FROM messages)", after
    ) or (None, 0)
    if next_block is None:
        return None, None
    first = await arrivals.first_block(connection, since, until, next_block)
    last = min(newest, first + bounds.BLOCKS - 1)
    block = await connection.fetchval(_IN_WINDOW.format("min"), first, last, since, until)
    if block is None:
        return None, None if last >= newest else (last << 8) + 255
    return max(after, (block << 8) - 1), None


async def _begin_down(connection: Connection, selection: Selection, before: int) -> tuple[int | None, int | None]:
    """Find the seq behind the next block, downwards, that has a message of the window of time; None as for `begin`."""
    if selection.since is None and selection.until is None:
        return before, None
    since, until = window(selection)
    next_block, oldest = await connection.fetchrow(
        "SELECT (SELECT seq >> 8 FROM messages WHERE seq < $1 ORDER BY seq DESC LIMIT 1), (SELECT min(seq) >> 8 FROM messages)",
        before,
    ) or (None, 0)
    if next_block is None:
        return None, None
    last = await arrivals.last_block(connection, since, until, next_block)
    if last is None or last < oldest:
        return None, None
    first = max(oldest, last - bounds.BLOCKS + 1)
    block = await connection.fetchval(_IN_WINDOW.format("max"), first, last, since, until)
    if block is None:
        return None, None if first <= oldest else first << 8
    return min(before, (block + 1) << 8), None


async def deliveries(
    connection: Connection,
    selection: Selection,
    seqs: Sequence[int] | None,
    after: Target,
    limit: int,
    states: Sequence[str] = (),
) -> tuple[list[Target], Target | None]:
    """Find the next deliveries that a selection names, at most `limit`, by message, then sink; and the one to go on after.

    Args:
        states: only deliveries in one of these, if the selection names no state; empty: in any.
    """
    start = after
    if selection.state is not None:
        states = (selection.state,)
    if seqs is None:
        seq, go_on = await begin(connection, selection, after.seq - 1)  # that message may have more deliveries
        if seq is None:
            return [], None if go_on is None else Target(go_on + 1, "")
        start = max(after, Target(seq + 1, ""), key=_place)
        if (entries := await _of_states(connection, states, selection.sink, start)) is not None:
            return await _looked_up(connection, selection, entries, limit)
        if tuple(states) == ("queued",):
            start = max(start, Target(await _first_queued(connection, selection.sink, start.seq), ""), key=_place)
    return await _walked(connection, selection, states, seqs, start, limit)


async def _walked(
    connection: Connection,
    selection: Selection,
    states: Sequence[str],
    seqs: Sequence[int] | None,
    start: Target,
    limit: int,
) -> tuple[list[Target], Target | None]:
    """Find the deliveries of a selection among the next LOOKED_AT of the table."""
    values = Values()
    where = f"(d.message, d.sink) > ({values(start.seq)}, {values(start.sink)})"
    if seqs is not None:
        where += f" AND d.message = ANY({values(list(seqs))}::bigint[])"
    looked_at = f"SELECT d.message, d.sink, d.state FROM deliveries d WHERE {where} ORDER BY d.message, d.sink"
    row = await connection.fetchrow(f"{looked_at} LIMIT 1 OFFSET {bounds.LOOKED_AT - 1}", *values)
    last = None if row is None else Target(row[0], row[1])
    chosen = ""
    if in_window := conditions(selection, None, values):
        chosen += f" AND EXISTS (SELECT FROM messages m WHERE m.seq = d.message{in_window})"
    if states:
        chosen += f" AND d.state = ANY({values(list(states))})"
    if selection.sink is not None:
        chosen += f" AND d.sink = {values(findable(selection.sink))}"
    query = f"WITH looked_at AS MATERIALIZED ({looked_at} LIMIT {bounds.LOOKED_AT}) SELECT d.message, d.sink FROM looked_at d"
    rows = await connection.fetch(f"{query} WHERE true{chosen} ORDER BY d.message, d.sink LIMIT {values(limit)}", *values)
    found = [Target(seq, sink) for seq, sink in rows]
    return found, found[-1] if len(found) == limit else last


async def _of_states(connection: Connection, states: Sequence[str], sink: str | None, start: Target) -> list[Target] | None:
    """Find the next deliveries in some states, at most LOOKED_UP, by the index of each state; None if a state has no index."""
    if not states or "delivered" in states:
        return None
    found: list[Target] = []
    for state in states:
        entries = await (_queued(connection, sink, start) if state == "queued" else _ended(connection, state, sink, start))
        if entries is None:
            return None
        found += entries
    return sorted(found, key=_place)[: bounds.LOOKED_UP]


async def _ended(connection: Connection, state: str, sink: str | None, start: Target) -> list[Target]:
    """Read the next deliveries in a state that has two indexes: by message, and by sink."""
    assert state in ("dead", "discarded")
    values = Values([start.seq, start.sink])
    of_sink = "" if sink is None else f" AND sink = {values(findable(sink))} AND message >= $1"
    query = f"SELECT message, sink FROM deliveries WHERE state = '{state}' AND (message, sink) > ($1, $2){of_sink}"
    rows = await connection.fetch(f"{query} ORDER BY message, sink LIMIT {bounds.LOOKED_UP}", *values)
    return [Target(seq, sink) for seq, sink in rows]


async def _queued(connection: Connection, sink: str | None, start: Target) -> list[Target] | None:
    """Put the entries in order, which the index has by due time; None if there are more than MOST_QUEUED."""
    if await _queued_by_counters(connection, sink) > bounds.MOST_QUEUED:
        return None
    rows = await connection.fetch(
        f"WITH few AS MATERIALIZED ({_few(sink)} LIMIT {bounds.MOST_QUEUED + 1}) SELECT message, sink FROM few"
        " WHERE (SELECT count(*) FROM few) <= $2 AND (message, sink) > ($3, $4) ORDER BY message, sink LIMIT $5",
        _findable(sink),
        bounds.MOST_QUEUED,
        start.seq,
        start.sink,
        bounds.LOOKED_UP,
    )
    if not rows and await _count(connection, sink, bounds.MOST_QUEUED + 1) > bounds.MOST_QUEUED:
        return None
    return [Target(seq, sink) for seq, sink in rows]


async def _first_queued(connection: Connection, sink: str | None, after: int) -> int:
    """Find the first message from `after` on that has a queued delivery; `after` itself if more than MOST_COUNTED are queued."""
    if await _queued_by_counters(connection, sink) > bounds.MOST_COUNTED:
        return after
    number, first = await connection.fetchrow(
        f"SELECT count(*), min(message) FILTER (WHERE message >= $2) FROM ({_few(sink)} LIMIT {bounds.MOST_COUNTED + 1}) few",
        _findable(sink),
        after,
    ) or (0, None)
    if number > bounds.MOST_COUNTED:
        return after
    return bounds.END if first is None else int(first)


def _few(sink: str | None) -> str:
    """Return the query of the queued deliveries of a sink, the first parameter, or of all sinks."""
    of_sink = "sink = $1" if sink is not None else "$1::text IS NULL"
    return f"SELECT message, sink FROM deliveries WHERE state = 'queued' AND {of_sink}"


async def _count(connection: Connection, sink: str | None, most: int) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM ({_few(sink)} LIMIT {most}) few", _findable(sink)))


async def _queued_by_counters(connection: Connection, sink: str | None) -> int:
    """Return about how many deliveries are queued. Counters may be wrong until they are repaired, so no page relies on them."""
    query = "SELECT coalesce(sum(queued), 0)::bigint FROM counters WHERE sink = coalesce($1, sink)"
    return int(await connection.fetchval(query, _findable(sink)))


async def _looked_up(
    connection: Connection, selection: Selection, entries: list[Target], limit: int
) -> tuple[list[Target], Target | None]:
    """Keep the entries whose message is in the window of time."""
    found = entries[:limit]
    if (selection.source, selection.since, selection.until) != (None, None, None):
        values = Values()
        where = conditions(selection, [entry.seq for entry in entries], values)
        of_these = {seq for (seq,) in await connection.fetch(f"SELECT m.seq FROM messages m WHERE true{where}", *values)}
        found = [entry for entry in entries if entry.seq in of_these][:limit]
    if len(found) == limit:
        return found, found[-1]
    return found, entries[-1] if len(entries) == bounds.LOOKED_UP else None


async def _last_message(connection: Connection, selection: Selection, after: int) -> int | None:
    """Find the last of the LOOKED_AT messages that a page looks at; None if there are fewer."""
    of_these = "" if selection.status in (None, "accepted") else of_status(str(selection.status))
    query = f"SELECT m.seq FROM messages m WHERE m.seq > $1{of_these} ORDER BY m.seq LIMIT 1 OFFSET {bounds.LOOKED_AT - 1}"
    last: int | None = await connection.fetchval(query, after)
    return last


async def _last_message_down(connection: Connection, selection: Selection, before: int) -> int | None:
    """Find the last of the LOOKED_AT messages that a page looks at downwards; None if there are fewer."""
    of_these = "" if selection.status in (None, "accepted") else of_status(str(selection.status))
    query = f"SELECT m.seq FROM messages m WHERE m.seq < $1{of_these} ORDER BY m.seq DESC LIMIT 1 OFFSET {bounds.LOOKED_AT - 1}"
    last: int | None = await connection.fetchval(query, before)
    return last


async def last_of_the_next(connection: Connection, after: int) -> int | None:
    """Find the seq of the last of the next LOOKED_AT messages; None if there are fewer."""
    return await _last_message(connection, Selection(), after)


def _place(target: Target) -> tuple[int, str]:
    return target.seq, target.sink


def _findable(sink: str | None) -> str | None:
    return None if sink is None else findable(sink)
