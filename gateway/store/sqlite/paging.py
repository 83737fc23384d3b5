"""Pages of messages and deliveries, of bounded cost as `store.bounds` says."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice

from gateway.core.selection import Selection, Target
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.sqlite import arrivals

IN_BLOCKS = "WITH RECURSIVE blocks (block) AS (VALUES (?1) UNION ALL SELECT block + 1 FROM blocks WHERE block < ?2)"
"""The blocks from the first parameter to the second."""


def begin(connection: sqlite3.Connection, selection: Selection, after: int) -> tuple[int | None, int | None]:
    """Find the seq before the next block that has a message of the window of time.

    If the page finds no such block: None, and the seq to go on after (None if there is none behind).
    """
    if selection.since is None and selection.until is None:
        return after, None
    since, until = window(selection)
    row = connection.execute("SELECT seq >> 8 FROM messages WHERE seq > ? ORDER BY seq LIMIT 1", (after,)).fetchone()
    if row is None:
        return None, None
    (newest,) = connection.execute("SELECT max(seq) >> 8 FROM messages").fetchone()
    first = arrivals.first_block(connection, since, until, row[0])
    last = min(newest, first + bounds.BLOCKS - 1)
    row = connection.execute(
        f"{IN_BLOCKS} SELECT block FROM blocks CROSS JOIN messages INDEXED BY messages_by_time ON seq >> 8 = block"
        " AND received_ms >= ?3 AND received_ms < ?4 LIMIT 1",
        (first, last, since, until),
    ).fetchone()
    if row is None:
        return None, None if last >= newest else (last << 8) + 255
    return max(after, (row[0] << 8) - 1), None


def messages(
    connection: sqlite3.Connection, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
) -> tuple[list[int], int | None]:
    """Find the next messages that a selection names, at most `limit`, by seq; and the seq to go on after."""
    start, go_on = (after, None) if seqs is not None else begin(connection, selection, after)
    if start is None:
        return [], go_on
    last = None if seqs is not None else _last_message(connection, selection, start)
    where, values = conditions(selection, seqs)
    if selection.status is not None:
        where += " AND m.status = ?"
        if selection.status != "accepted":
            where += " AND m.status <> 'accepted'"  # said twice: only then does SQLite use the index of the other statuses
        values.append(selection.status)
    rows = connection.execute(
        f"SELECT m.seq FROM messages m WHERE m.seq > ? AND m.seq <= ?{where} ORDER BY m.seq LIMIT ?",
        (start, bounds.END if last is None else last, *values, limit),
    ).fetchall()
    found = [seq for (seq,) in rows]
    return found, found[-1] if len(found) == limit else last


def deliveries(
    connection: sqlite3.Connection,
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
        seq, go_on = begin(connection, selection, after.seq - 1)  # that message may have more deliveries
        if seq is None:
            return [], None if go_on is None else Target(go_on + 1, "")
        start = max(after, Target(seq + 1, ""), key=_place)
        if (entries := _of_states(connection, states, selection.sink, start)) is not None:
            return _looked_up(connection, selection, entries, limit)
        if tuple(states) == ("queued",):
            start = max(start, Target(_first_queued(connection, selection.sink, start.seq), ""), key=_place)
    return _walked(connection, selection, states, seqs, start, limit)


def _walked(
    connection: sqlite3.Connection,
    selection: Selection,
    states: Sequence[str],
    seqs: Sequence[int] | None,
    start: Target,
    limit: int,
) -> tuple[list[Target], Target | None]:
    """Find the deliveries of a selection among the next LOOKED_AT of the table."""
    of_these = "" if seqs is None else f" AND message IN ({','.join(map(str, seqs))})"
    row = connection.execute(
        f"SELECT message, sink FROM deliveries WHERE (message, sink) > (?, ?){of_these} ORDER BY message, sink LIMIT 1 OFFSET ?",
        (start.seq, start.sink, bounds.LOOKED_AT - 1),
    ).fetchone()
    last = None if row is None else Target(*row)
    where, values = conditions(selection, seqs)
    if where:
        where = f" AND EXISTS (SELECT 1 FROM messages m WHERE m.seq = d.message{where})"
    if seqs is not None:
        where += of_these.replace("message", "d.message")
    # The plus keeps SQLite from an index with another order (sqlite.org/optoverview.html).
    if states:
        where += f" AND +d.state IN ({','.join('?' * len(states))})"
        values += states
    if selection.sink is not None:
        where += " AND +d.sink = ?"
        values.append(selection.sink)
    bound = (bounds.END, "") if last is None else (last.seq, last.sink)
    rows = connection.execute(
        "SELECT d.message, d.sink FROM deliveries d WHERE (d.message, d.sink) > (?, ?) AND d.message <= ?"
        f" AND (d.message, d.sink) <= (?, ?){where} ORDER BY d.message, d.sink LIMIT ?",
        (start.seq, start.sink, bound[0], *bound, *values, limit),
    ).fetchall()
    found = [Target(seq, sink) for seq, sink in rows]
    return found, found[-1] if len(found) == limit else last


def _of_states(connection: sqlite3.Connection, states: Sequence[str], sink: str | None, start: Target) -> list[Target] | None:
    """Find the next deliveries in some states, at most LOOKED_UP, by the index of each state; None if a state has no index."""
    if not states or "delivered" in states:
        return None
    each = []
    for state in states:
        entries = _queued(connection, sink, start) if state == "queued" else _ended(connection, state, sink, start)
        if entries is None:
            return None
        each.append(entries)
    return list(islice(heapq.merge(*each, key=_place), bounds.LOOKED_UP))


def _ended(connection: sqlite3.Connection, state: str, sink: str | None, start: Target) -> list[Target]:
    """Merge the entries of each sink, which the index has in order; no entry is read that is not needed."""
    query = (
        f"SELECT message, sink FROM deliveries INDEXED BY deliveries_{state} WHERE state = '{state}'"
        " AND sink = ? AND message >= ? ORDER BY message"
    )
    sinks = [sink] if sink is not None else list(sinks_with(connection, state, f"deliveries_{state}"))
    with ExitStack() as stack:
        each = [stack.enter_context(closing(connection.execute(query, (name, start.seq)))) for name in sinks]
        merged = (Target(*row) for row in heapq.merge(*each) if row > _place(start))
        return list(islice(merged, bounds.LOOKED_UP))


def _queued(connection: sqlite3.Connection, sink: str | None, start: Target) -> list[Target] | None:
    """Put the entries in order, which the index has by due time; None if there are more than MOST_QUEUED."""
    if _queued_by_counters(connection, sink) > bounds.MOST_QUEUED:
        return None
    index = "deliveries INDEXED BY deliveries_due WHERE state = 'queued' AND sink = ?1"
    count = f"SELECT count(*) FROM (SELECT 1 FROM {index} LIMIT ?2)"
    left = bounds.MOST_QUEUED
    sinks = [sink] if sink is not None else list(sinks_with(connection, "queued", "deliveries_due"))
    for name in sinks:
        left -= connection.execute(count, (name, left + 1)).fetchone()[0]
        if left < 0:
            return None
    query = f"SELECT message, sink FROM {index} AND message >= ?2 ORDER BY message LIMIT ?3"
    each = [connection.execute(query, (name, start.seq, bounds.LOOKED_UP + 1)).fetchall() for name in sinks]
    return list(islice((Target(*row) for row in heapq.merge(*each) if row > _place(start)), bounds.LOOKED_UP))


def _first_queued(connection: sqlite3.Connection, sink: str | None, after: int) -> int:
    """Find the first message from `after` on that has a queued delivery; `after` itself if more than MOST_COUNTED are queued."""
    if _queued_by_counters(connection, sink) > bounds.MOST_COUNTED:
        return after
    left, first = bounds.MOST_COUNTED, bounds.END
    for name in [sink] if sink is not None else list(sinks_with(connection, "queued", "deliveries_due")):
        found, number = connection.execute(
            "SELECT min(message) FILTER (WHERE message >= ?), count(*) FROM (SELECT message FROM deliveries"
            " INDEXED BY deliveries_due WHERE state = 'queued' AND sink = ? LIMIT ?)",
            (after, name, left + 1),
        ).fetchone()
        left -= number
        if left < 0:
            return after
        first = min(first, bounds.END if found is None else found)
    return first


def _queued_by_counters(connection: sqlite3.Connection, sink: str | None) -> int:
    """Return about how many deliveries are queued. Counters may be wrong until they are repaired, so no page relies on them."""
    query = "SELECT coalesce(sum(queued), 0) FROM counters WHERE sink = ifnull(?, sink)"
    return int(connection.execute(query, (sink,)).fetchone()[0])


def sinks_with(connection: sqlite3.Connection, state: str, index: str) -> Iterator[str]:
    """Find the sinks that have a delivery in a state, by one look into the index for each."""
    query = f"SELECT sink FROM deliveries INDEXED BY {index} WHERE state = '{state}' AND sink > ? ORDER BY sink LIMIT 1"
    row = ("",)
    while (row := connection.execute(query, row).fetchone()) is not None:
        yield row[0]


def _looked_up(
    connection: sqlite3.Connection, selection: Selection, entries: list[Target], limit: int
) -> tuple[list[Target], Target | None]:
    """Keep the entries whose message is in the window of time."""
    where, values = conditions(selection, None)
    query = f"SELECT 1 FROM messages m WHERE m.seq = ?{where}"
    found: list[Target] = []
    for entry in entries:
        if not where or connection.execute(query, (entry.seq, *values)).fetchone() is not None:
            found.append(entry)
            if len(found) == limit:
                return found, entry
    return found, entries[-1] if len(entries) == bounds.LOOKED_UP else None


def _last_message(connection: sqlite3.Connection, selection: Selection, after: int) -> int | None:
    """Find the last of the LOOKED_AT messages that a page looks at; None if there are fewer."""
    if selection.status in (None, "accepted"):
        return last_of_the_next(connection, after)
    query = (
        "SELECT seq FROM messages INDEXED BY messages_by_status WHERE status = ? AND status <> 'accepted' AND seq > ?"
        " ORDER BY seq LIMIT 1 OFFSET ?"
    )
    row = connection.execute(query, (selection.status, after, bounds.LOOKED_AT - 1)).fetchone()
    return None if row is None else int(row[0])


def last_of_the_next(connection: sqlite3.Connection, after: int) -> int | None:
    """Find the seq of the last of the next LOOKED_AT messages; None if there are fewer."""
    query = "SELECT seq FROM messages WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?"
    row = connection.execute(query, (after, bounds.LOOKED_AT - 1)).fetchone()
    return None if row is None else int(row[0])


def conditions(selection: Selection, seqs: Sequence[int] | None) -> tuple[str, list[object]]:
    """Return the conditions of a selection on a message `m`, beside its status, with their values."""
    where, values = "", list[object]()
    if seqs is not None:
        where += f" AND m.seq IN ({','.join(map(str, seqs))})"
    if selection.source is not None:
        where += " AND m.source = ?"
        values.append(selection.source)
    for operator, instant in ((">=", selection.since), ("<", selection.until)):
        if instant is not None:
            where += f" AND m.received_ms {operator} ?"
            values.append(milliseconds(instant))
    return where, values


def window(selection: Selection) -> tuple[int, int]:
    """Return the window of time of a selection: from a millisecond on, and up to before another one."""
    since, until = selection.since, selection.until
    return 0 if since is None else milliseconds(since), bounds.END if until is None else milliseconds(until)


def _place(target: Target) -> tuple[int, str]:
    return target.seq, target.sink
