"""The rows of what the gateway watches over time: timers of service requests, troubles that last, and words that are known.

`keep` runs in the transaction of the event that tells about it. Instants are in the store's own time here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from gateway.core.drift import MOST_KNOWN, DriftKind, Learned
from gateway.core.lasting import Lasting
from gateway.core.records import Companion
from gateway.core.watches import SETTLE, Entered, Entering, StallsTold, Timer, Watch
from gateway.store.columns import blob, milliseconds, text
from gateway.store.counted import Changes
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of, number_of
from gateway.store.timer_rows import (
    TIMER_COLUMNS,
    ForeignTimer,
    TimerKey,
    foreign,
    in_order_of_entering,
    timer_of,
    timer_row,
    told_row,
)

_INSERT: Final = (
    "INSERT INTO watch_timers (source, sr, rule, reference_id, state, entered_ms, arrived_ms)"
    " SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[])"
    " ON CONFLICT (source, sr, rule) DO "
)
_BEGIN: Final = _INSERT + (
    "UPDATE SET reference_id = excluded.reference_id, state = excluded.state, entered_ms = excluded.entered_ms,"
    " arrived_ms = excluded.arrived_ms, told_ms = NULL"
)
_BEGIN_MISSING: Final = _INSERT + "NOTHING"
_END: Final = (
    "DELETE FROM watch_timers t USING unnest($1::text[], $2::bytea[]) AS k (source, sr) WHERE t.source = k.source AND t.sr = k.sr"
)
_TOLD: Final = (
    "UPDATE watch_timers t SET told_ms = $1"
    " FROM unnest($2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[]) AS k (source, sr, rule, entered_ms, told_ms)"
    " WHERE t.source = k.source AND t.sr = k.sr AND t.rule = k.rule AND t.entered_ms = k.entered_ms"
    " AND t.told_ms IS NOT DISTINCT FROM k.told_ms"
)
_DROP: Final = (
    "DELETE FROM watch_timers t"
    " USING unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::bigint[]) AS k (source, sr, rule, state, entered_ms)"
    " WHERE t.source = k.source AND t.sr = k.sr AND t.rule = k.rule AND t.state = k.state AND t.entered_ms = k.entered_ms"
)


async def keep(connection: Connection, companions: Iterable[Companion]) -> None:
    """Write what is committed together with messages, in the order of the messages."""
    for one in in_order_of_entering(companions):
        match one:
            case list():
                await _enter(connection, one)
            case StallsTold():
                await connection.execute(_TOLD, milliseconds(one.at), *columns_of([told_row(timer) for timer in one.timers], 5))
            case Lasting():
                await _last(connection, one)
            case Learned():
                await _learn(connection, one)


async def keep_alone(connection: Connection, changes: Changes, *, companions: Sequence[Companion]) -> None:
    """Write the same without a message, if no route asks for the event."""
    await keep(connection, companions)


async def due_timers(connection: Connection, watches: Sequence[Watch], now: float, limit: int) -> list[Timer]:
    """Read at most `limit` timers that are due, those of one rule after those of another, the oldest first."""
    found: list[Timer] = []
    for watch in watches:
        rows = await connection.fetch(
            f"SELECT {TIMER_COLUMNS} FROM watch_timers WHERE rule = $1 AND told_ms IS NULL AND entered_ms <= $2"
            " AND arrived_ms <= $3 ORDER BY entered_ms LIMIT $4",
            watch.name,
            milliseconds(now - watch.after),
            milliseconds(now - SETTLE),
            limit - len(found),
        )
        if watch.again is not None and len(found) + len(rows) < limit:
            rows += await connection.fetch(
                f"SELECT {TIMER_COLUMNS} FROM watch_timers WHERE rule = $1 AND told_ms IS NOT NULL AND told_ms <= $2"
                " ORDER BY told_ms LIMIT $3",
                watch.name,
                milliseconds(now - watch.again),
                limit - len(found) - len(rows),
            )
        found += [timer_of(tuple(row)) for row in rows]
        if len(found) >= limit:
            break
    return found


async def stalled(connection: Connection, watches: Sequence[Watch], most: int) -> dict[str, int]:
    """Count by rule the service requests that people were told about and that are still in their state, each up to `most`."""
    counted = {}
    for watch in watches:
        query = "SELECT count(*) FROM (SELECT 1 FROM watch_timers WHERE rule = $1 AND told_ms IS NOT NULL LIMIT $2) AS told"
        counted[watch.name] = int(await connection.fetchval(query, watch.name, most))
    return counted


async def foreign_timers(
    connection: Connection, watches: Mapping[str, Watch], after: TimerKey, size: int
) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Look at the next `size` timers, and find those whose rules are gone or watch other states.

    Returns what `drop` takes, and the key to go on after; None at the end.
    """
    rows, go_on = await timers_after(connection, after, size)
    return foreign(rows, watches), go_on


async def timers_after(connection: Connection, after: TimerKey, size: int) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Read the next `size` timers in the order of their keys, and the key to go on after; None at the end."""
    found = await connection.fetch(
        "SELECT source, sr, rule, state, entered_ms FROM watch_timers WHERE (source, sr, rule) > ($1, $2, $3)"
        " ORDER BY source, sr, rule LIMIT $4",
        *after,
        size,
    )
    rows: list[ForeignTimer] = [(row[0], row[1], row[2], row[3], row[4]) for row in found]
    return rows, rows[-1][:3] if len(rows) == size else None


async def begin_missing(connection: Connection, entered: Sequence[tuple[Entered, str]]) -> int:
    """Begin timers of some rules, each unless the service request has one of the rule. Returns how many began."""
    rows = [timer_row(one, rule) for one, rule in entered]
    return number_of(await connection.execute(_BEGIN_MISSING, *columns_of(rows, 7)))


async def drop(connection: Connection, changes: Changes, *, timers: Sequence[ForeignTimer]) -> None:
    """Delete some timers, unless their service requests entered another state meanwhile."""
    await connection.execute(_DROP, *columns_of(timers, 5))


async def purge_told(connection: Connection, changes: Changes, *, rules: Collection[str], before: float, size: int) -> int:
    """Delete at most `size` timers of some rules that were told before an instant. Returns how many."""
    return number_of(
        await connection.execute(
            "DELETE FROM watch_timers t USING (SELECT source, sr, rule FROM watch_timers WHERE rule = ANY($1::text[])"
            " AND told_ms IS NOT NULL AND told_ms < $2 LIMIT $3 FOR UPDATE) AS k"
            " WHERE t.source = k.source AND t.sr = k.sr AND t.rule = k.rule",
            sorted(rules),
            milliseconds(before),
            size,
        )
    )


async def all_lasting(connection: Connection) -> list[Lasting]:
    """Read every trouble that is remembered."""
    rows = await connection.fetch("SELECT kind, subject, elapsed_ms, told FROM lasting")
    return [Lasting(kind, subject, elapsed_ms / 1000, told) for kind, subject, elapsed_ms, told in rows]


async def known_words(connection: Connection) -> dict[tuple[str, DriftKind], set[str]]:
    """Read the words that are known, by source and kind."""
    found: dict[tuple[str, DriftKind], set[str]] = {}
    for source, kind, value in await connection.fetch("SELECT source, kind, value FROM known_words"):
        found.setdefault((source, kind), set()).add(text(value) or "")
    return found


async def words_learned(connection: Connection, since: float, most: int) -> list[float]:
    """Read when the newest words became known, those since an instant and at most `most`; the oldest of them first."""
    newest = "SELECT seen_ms FROM known_words WHERE seen_ms > $1 ORDER BY seen_ms DESC LIMIT $2"
    return [row[0] / 1000 for row in await connection.fetch(newest, milliseconds(since), most)][::-1]


async def _enter(connection: Connection, entered: Sequence[Entering]) -> None:
    """End the timers of some service requests, and begin those of their new states."""
    requests = [(one.entered.source, blob(one.entered.sr_uuid)) for one in entered]
    await connection.execute(_END, *columns_of(requests, 2))
    rows = [timer_row(one.entered, rule) for one in entered for rule in one.rules]
    if rows:
        await connection.execute(_BEGIN, *columns_of(rows, 7))


async def _last(connection: Connection, one: Lasting) -> None:
    """Remember how long a trouble has lasted, or forget it once it is over."""
    if not one.begun:
        await connection.execute("DELETE FROM lasting WHERE kind = $1 AND subject = $2", one.kind, one.subject)
        return
    await connection.execute(
        "INSERT INTO lasting (kind, subject, elapsed_ms, told) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (kind, subject) DO UPDATE SET elapsed_ms = excluded.elapsed_ms, told = excluded.told",
        one.kind,
        one.subject,
        milliseconds(one.elapsed),
        one.told,
    )


async def _learn(connection: Connection, one: Learned) -> None:
    """Remember a word, unless as many are remembered as may be."""
    await connection.execute(
        "INSERT INTO known_words (source, kind, value, seen_ms) SELECT $1, $2, $3, $4 WHERE"
        " (SELECT count(*) FROM known_words WHERE source = $1 AND kind = $2) < $5 ON CONFLICT DO NOTHING",
        one.source,
        one.kind,
        blob(one.value),
        milliseconds(one.at),
        MOST_KNOWN,
    )
