"""Reading the due and the expired deliveries of a sink, from the indexes of open deliveries. Writes nothing.

The owner of a lane keeps a cursor: no open delivery lay before it at its last claim. PostgreSQL keeps the index entries of
settled deliveries until no transaction may see them any more, and a claim from the cursor on passes them by.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gateway.core.records import BYTES_BESIDE_BODY, Claimed, Owed
from gateway.store.base import MOST_CLAIMED_BYTES
from gateway.store.columns import MESSAGE_COLUMNS, message_of, milliseconds
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.sink_rows import away_of
from gateway.store.turns import BEGINNING, Place

RESCAN_SECONDS: Final = 30.0
"""Seconds after which a claim begins at the front again, whatever the cursor says."""
_LATE_MS: Final = 10_000
"""Milliseconds by which a delivery may be committed later than it is due: a cursor stays that far behind the present."""
_OPEN: Final = (
    "(SELECT message, due_ms FROM deliveries WHERE sink = $1 AND state = 'queued' AND behind = {}"
    " AND (due_ms, message) >= ($3, $4) ORDER BY due_ms, message LIMIT $2)"
)
_FIRST_DUE: Final = " ORDER BY due_ms, message LIMIT $2"
_NOT_BEHIND: Final = _OPEN.format("false")
"""The deliveries that may go if the sink is ordered."""
_WAITING: Final = f"{_NOT_BEHIND} UNION ALL {_OPEN.format('true')}{_FIRST_DUE}"
"""All open deliveries, merged from two walks over the index."""
_EXPIRED_WHILE_DUE: Final = (
    "(SELECT message, since_ms FROM deliveries WHERE sink = $1 AND state = 'queued' AND behind = {} AND due_ms <= $2"
    " AND since_ms <= $2 ORDER BY due_ms, message LIMIT $3)"
)
_EXPIRED: Final = (
    "SELECT message FROM ((SELECT message, since_ms FROM deliveries WHERE sink = $1 AND state = 'queued' AND due_ms > since_ms"
    f" AND since_ms <= $2 ORDER BY since_ms, message LIMIT $3) UNION {_EXPIRED_WHILE_DUE.format('false')}"
    f" UNION {_EXPIRED_WHILE_DUE.format('true')}) AS old ORDER BY since_ms, message LIMIT $3"
)
"""Two kinds: those due after they were accepted, by age; and those due at once, by due time, which is their age as well."""
_JOINS: Final = "EXISTS (SELECT 1 FROM joins j WHERE j.message = d.message AND j.sink = d.sink)"
"""Another message may go out with the delivery."""


class Cursors:
    """Where the next claim of each lane begins, in the process that owns the lane."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Place, float]] = {}
        """The place of each sink, and when a claim began at the front the last time."""
        self._lowered: dict[str, Place] = {}
        """The first place of each sink at which a delivery was queued since the last claim began."""

    def begin(self, sink: str, monotonic: float) -> Place:
        """Return where a claim begins."""
        place, scanned = self._places.get(sink, (BEGINNING, -RESCAN_SECONDS))
        if monotonic - scanned >= RESCAN_SECONDS:
            place, scanned = BEGINNING, monotonic
        place = min(place, self._lowered.pop(sink, place))
        self._places[sink] = (place, scanned)
        return place

    def seen(self, sink: str, first: Place | None, now_ms: int) -> None:
        """Take note of the first open delivery that a claim saw; None: there is none.

        Args:
            now_ms: the instant of the claim, in the store's own time.
        """
        latest: Place = (now_ms - _LATE_MS, 0)
        _, scanned = self._places[sink]
        self._places[sink] = (latest if first is None else min(first, latest), scanned)

    def lower(self, sink: str, place: Place = BEGINNING) -> None:
        """Let the next claim begin at a place at the latest, because this node has just queued a delivery there."""
        self._lowered[sink] = min(place, self._lowered.get(sink, place))


async def claim(
    connection: Connection,
    sink: str,
    now: float,
    limit: int,
    busy: Collection[int],
    *,
    begin: Place = BEGINNING,
    by_sr: bool = False,
    room: int = MOST_CLAIMED_BYTES,
) -> tuple[Claimed, Place | None]:
    """Read up to `limit` due deliveries of a sink, oldest first, see `base.Delivering.claim`.

    Args:
        begin: no open delivery lies before this place.
    Returns the place of the first open delivery, too.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):  # one snapshot for all queries
        seen_to = int(await connection.fetchval("SELECT max(seq) FROM messages") or 0)
        query = _NOT_BEHIND if by_sr else _WAITING
        rows = await connection.fetch(query, sink, limit + len(busy) + 1, *begin)
        first = (rows[0][1], rows[0][0]) if rows else None
        waiting = [(seq, due_ms) for seq, due_ms in rows if seq not in busy]
        due = [seq for seq, due_ms in waiting if due_ms <= milliseconds(now)]
        fitting = await _fitting(connection, due[:limit], room)
        more = len(due) > len(fitting)
        next_due = None if more else next((due_ms / 1000 for _, due_ms in waiting[len(due) :]), None)
        return Claimed(await _owed(connection, sink, fitting), more, next_due, seen_to), first


async def expired(connection: Connection, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
    """Read up to `limit` open deliveries of a sink that were accepted or replayed before an instant, due or not.

    Their bodies are left out, because nobody sends them any more.
    """
    away_ms = await away_of(connection, sink)
    rows = await connection.fetch(_EXPIRED, sink, milliseconds(before) - away_ms, limit + len(busy))
    return await _owed(connection, sink, [row[0] for row in rows if row[0] not in busy][:limit], body="''::bytea")


async def _fitting(connection: Connection, seqs: list[int], room: int) -> list[int]:
    """Return the first of these messages, as many as fit into `room` bytes of memory, but at least one."""
    found = await connection.fetch("SELECT seq, length(body) FROM messages WHERE seq = ANY($1::bigint[])", seqs)
    sizes = {row[0]: row[1] for row in found}
    fitting: list[int] = []
    total = 0
    for seq in seqs:
        total += sizes.get(seq, 0) + BYTES_BESIDE_BODY
        if fitting and total > room:
            break
        fitting.append(seq)
    return fitting


async def _owed(connection: Connection, sink: str, seqs: list[int], *, body: str = "m.body") -> tuple[Owed, ...]:
    columns = MESSAGE_COLUMNS.replace("m.body", body)
    away_ms = await away_of(connection, sink)
    rows = await connection.fetch(
        f"SELECT d.message, d.since_ms, d.attempts, d.retries, {_JOINS}, {columns} FROM deliveries d"
        " JOIN messages m ON m.seq = d.message WHERE d.sink = $1 AND d.message = ANY($2::bigint[]) AND d.state = 'queued'",
        sink,
        seqs,
    )
    found = {
        row[0]: Owed(
            seq=row[0],
            sink=sink,
            since=(row[1] + away_ms) / 1000,
            attempts=row[2],
            retries=row[3],
            joins=row[4],
            message=message_of(tuple(row)[5:]),
        )
        for row in rows
    }
    return tuple(found[seq] for seq in seqs if seq in found)
