"""Joins: the two events of one rejection that go out as one message. The delivery of the first one tells both.

The first one of a round opens a join at its sink and waits. The other one, if it comes before the join is closed, is linked to
it, and its own delivery is discarded. The first attempt at the waiting delivery closes the join, so that nothing is added to a
message which may be on its way already. There is one join for each round of a service request at a sink, and it is never opened
again: what comes later goes out alone and at once.

Everything but the reads at the end runs in the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from gateway.core.outcome import Reason
from gateway.core.records import Joined, Message
from gateway.store.columns import MESSAGE_COLUMNS, JoinPart, message_of, milliseconds
from gateway.store.counted import Changes
from gateway.store.join_plan import NO_JOINS, First, JoinKey, Plan, planned, wanted_joins
from gateway.store.ledger_state import Judged
from gateway.store.new_rows import DeliveryRow
from gateway.store.sqlite import ordering
from gateway.store.sqlite.many_rows import chunks, marks, values_of
from gateway.store.sqlite.sink_rows import absences

_DISCARDED_ROW = f"(?, ?, ?, ?, 'discarded', '{Reason.JOINED.value}')"
_DUE_ROW = "(?, ?, ?, 'queued', 0)"


def plan(connection: sqlite3.Connection, accepted: Sequence[tuple[Judged, int]], numbers: Sequence[int | None]) -> Plan:
    """Decide which of the accepted messages wait at a sink, and which are told with one that waits; see `join_plan`."""
    wanted = wanted_joins(accepted, numbers)
    return planned(wanted, _firsts(connection, {one.key for one in wanted})) if wanted else NO_JOINS


def write(connection: sqlite3.Connection, plan: Plan, accepted: Sequence[tuple[Judged, int]], changes: Changes) -> None:
    """Write what was planned, after the messages and the deliveries of the same transaction."""
    if not plan.accepted:
        return
    new = [(*key, seq, plan.linked.get(key, (0, None))[1], int(key not in plan.linked)) for key, seq in plan.opened.items()]
    for part in chunks(new):
        values = marks(len(part), "(?, ?, ?, ?, ?, ?)")
        connection.execute(f"INSERT INTO joins (request, round, sink, message, partner, open) VALUES {values}", values_of(part))
    older = [(*key, partner) for key, (_, partner) in plan.linked.items() if key not in plan.opened]
    for older_part in chunks(older):
        connection.execute(
            f"UPDATE joins SET partner = k.column4, open = 0 FROM (VALUES {marks(len(older_part), '(?, ?, ?, ?)')}) AS k"
            " WHERE joins.request = k.column1 AND joins.round = k.column2 AND joins.sink = k.column3",
            values_of(older_part),
        )
    if not plan.linked:
        return
    due = {(seq, sink): milliseconds(due) for one, seq in accepted for sink, due in one.owes.deliveries}
    _bring_forward(connection, [(first, key[2], due[partner, key[2]]) for key, (first, partner) in plan.linked.items()])
    came = {seq: milliseconds(one.new.message.received_at) for one, seq in accepted}
    for ended in chunks([(seq, sink, came[seq], came[seq]) for seq, sink in sorted(plan.joined)]):
        values = marks(len(ended), _DISCARDED_ROW)
        connection.execute(
            f"INSERT INTO deliveries (message, sink, since_ms, ended_ms, state, reason) VALUES {values}", values_of(ended)
        )
    changes.update((sink, "discarded") for _, sink in plan.joined)


def close(connection: sqlite3.Connection, changes: Changes, *, seq: int, sink: str) -> Message | None:
    """Let nothing more be told with a delivery. Returns the message that is told with it; None if it goes out alone.

    The answer stays the same, however often it is asked for.
    """
    connection.execute("UPDATE joins SET open = 0 WHERE message = ? AND sink = ? AND open = 1", (seq, sink))
    row = connection.execute(
        f"SELECT {MESSAGE_COLUMNS} FROM joins j JOIN messages m ON m.seq = j.partner WHERE j.message = ? AND j.sink = ?",
        (seq, sink),
    ).fetchone()
    return None if row is None else message_of(row)


def part(connection: sqlite3.Connection, changes: Changes, *, seq: int, sink: str, now: float) -> bool:
    """Let a delivery go out alone, and queue the one that it would have told. Returns False if it would have told none."""
    row = connection.execute(
        "SELECT m.seq, nullif(m.sr_uuid, x''), m.event_ms, s.in_order FROM joins j JOIN messages m ON m.seq = j.partner"
        " LEFT JOIN sinks s ON s.sink = j.sink WHERE j.message = ? AND j.sink = ?",
        (seq, sink),
    ).fetchone()
    connection.execute("UPDATE joins SET open = 0, partner = NULL WHERE message = ? AND sink = ?", (seq, sink))
    if row is None:
        return False
    partner, sr, event_ms, in_order = row
    ended = "state = 'discarded' AND reason = ? AND replayed = 0"  # a person may have replayed it
    if not connection.execute(
        f"DELETE FROM deliveries WHERE message = ? AND sink = ? AND {ended}", (partner, sink, Reason.JOINED.value)
    ).rowcount:
        return False
    since_ms, due_ms = absences(connection).since(sink, milliseconds(now)), milliseconds(now)
    turn = (sr, event_ms) if in_order and sr is not None else (None, None)
    new: DeliveryRow = (partner, sink, since_ms, due_ms, *turn, 0)
    (placed,) = ordering.take(connection, [new]) if turn != (None, None) else [new]
    connection.execute(
        "INSERT INTO deliveries (message, sink, since_ms, due_ms, sr, event_ms, behind, state) VALUES"
        " (?, ?, ?, ?, ?, ?, ?, 'queued')",
        placed,
    )
    changes.subtract([(sink, "discarded")])
    changes.update([(sink, "queued")])
    return True


def joined_to(connection: sqlite3.Connection, seq: int) -> tuple[Joined, ...]:
    """Read the deliveries of a message that another delivery tells, and that nobody has replayed since, by sink."""
    rows = connection.execute(
        "SELECT j.sink, m.id FROM joins j JOIN messages m ON m.seq = j.message"
        " JOIN deliveries d ON d.message = j.partner AND d.sink = j.sink"
        " WHERE j.partner = ? AND d.state = 'discarded' AND d.reason = ? ORDER BY j.sink",
        (seq, Reason.JOINED.value),
    )
    return tuple(Joined(*row) for row in rows)


def parts(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[tuple[int, str], JoinPart]:
    """Read which deliveries of some messages have a part in a joined message, by seq and sink."""
    found: dict[tuple[int, str], JoinPart] = {}
    for some in chunks(sorted(set(seqs))):
        listed = marks(len(some), "?")
        rows = connection.execute(
            "SELECT j.message, j.sink, NULL, p.id, j.open FROM joins j LEFT JOIN messages p ON p.seq = j.partner"
            f" WHERE j.message IN ({listed})"
            " UNION ALL SELECT j.partner, j.sink, f.id, NULL, 0 FROM joins j JOIN messages f ON f.seq = j.message"
            f" WHERE j.partner IN ({listed})",
            (*some, *some),
        )
        found |= {(seq, sink): JoinPart(told_by, tells, bool(open_)) for seq, sink, told_by, tells, open_ in rows}
    return found


def is_still_owed(connection: sqlite3.Connection, seq: int) -> bool:
    """Return True if a delivery of another message has to tell this one, and has not done so yet."""
    query = (
        "SELECT 1 FROM joins j JOIN deliveries d ON d.message = j.message AND d.sink = j.sink"
        " WHERE j.partner = ? AND d.state IN ('queued', 'dead') LIMIT 1"
    )
    return connection.execute(query, (seq,)).fetchone() is not None


def _firsts(connection: sqlite3.Connection, keys: Collection[JoinKey]) -> dict[JoinKey, First]:
    found: dict[JoinKey, First] = {}
    for some in chunks(sorted(keys)):
        rows = connection.execute(
            "SELECT j.request, j.round, j.sink, j.message, m.id, m.milestone,"
            " j.open AND d.message IS NOT NULL AND d.state = 'queued' AND NOT d.replayed"
            f" FROM (VALUES {marks(len(some), '(?, ?, ?)')}) AS k CROSS JOIN joins j"
            " ON j.request = k.column1 AND j.round = k.column2 AND j.sink = k.column3"
            " JOIN messages m ON m.seq = j.message LEFT JOIN deliveries d ON d.message = j.message AND d.sink = j.sink",
            values_of(some),
        )
        found |= {(row[0], row[1], row[2]): First(row[3], row[4], row[5], bool(row[6])) for row in rows}
    return found


def _bring_forward(connection: sqlite3.Connection, dues: Sequence[tuple[int, str, int]]) -> None:
    """Let deliveries that waited go: each at an instant, or when it is due anyway."""
    for some in chunks(dues):
        connection.execute(
            f"INSERT INTO deliveries (message, sink, due_ms, state, since_ms) VALUES {marks(len(some), _DUE_ROW)}"
            " ON CONFLICT (message, sink) DO UPDATE SET due_ms = min(deliveries.due_ms, excluded.due_ms)"
            " WHERE deliveries.state = 'queued'",
            values_of(some),
        )
