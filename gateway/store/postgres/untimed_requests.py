"""Service requests that are in a state which a `[[watch]]` rule names, and that have no timer of the rule.

They entered the state before the rule was there. They are looked for page by page beside the traffic; the writer then looks
again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.watches import TimersPlace, Watch
from gateway.store.columns import STANDING, standing_of
from gateway.store.counted import Changes
from gateway.store.hot_rows import Key, Standing
from gateway.store.postgres import watch_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.many_columns import columns_of
from gateway.store.postgres.request_locks import lock_for_batch
from gateway.store.standing_timers import Since, beginning, milestones_of, waiting

PAGE: Final = 256
"""Requests of one page, and of one transaction."""
_PAGE: Final = (
    f"SELECT r.source, r.sr_uuid, {STANDING} FROM standings s JOIN requests r ON r.number = s.request"
    " WHERE s.milestone = $1 AND (s.entered_ms, s.request) > ($2, $3) ORDER BY s.entered_ms, s.request LIMIT $4"
)
_TIMED: Final = (
    "SELECT t.source, t.sr, t.rule FROM unnest($1::text[], $2::bytea[]) AS k (source, sr)"
    " JOIN watch_timers t ON t.source = k.source AND t.sr = k.sr"
)


async def of_page(
    connection: Connection, watches: Sequence[Watch], since_ms: int, after: TimersPlace | None
) -> tuple[list[Key], TimersPlace | None]:
    """Find such requests in the next page of those whose state began at an instant or later.

    Returns the place to go on after, too; None at the end.
    """
    for milestone in milestones_of(watches):
        if after is not None and milestone < after.milestone:
            continue
        begin = (after.entered_ms, after.number) if after is not None and milestone == after.milestone else (since_ms, -1)
        page = await connection.fetch(_PAGE, milestone, *begin, PAGE)
        if page:
            rows = [((source, sr_uuid.decode()), standing_of(row)) for source, sr_uuid, *row in page]
            last = rows[-1][1]
            return await _untimed(connection, watches, rows), TimersPlace(milestone, last.columns.entered_ms, last.number)
    return [], None


async def _untimed(connection: Connection, watches: Sequence[Watch], rows: Sequence[tuple[Key, Standing]]) -> list[Key]:
    watching = {key: {rule for rule, _ in waiting(key, standing, watches)} for key, standing in rows}
    keys = [(source, sr.encode()) for (source, sr), rules in watching.items() if rules]
    for source, sr, rule in await connection.fetch(_TIMED, *columns_of(keys, 2)):
        watching[source, sr.decode()].discard(rule)
    return [key for key, rules in watching.items() if rules]


async def begin(connection: Connection, changes: Changes, *, keys: Sequence[Key], ledger: PostgresLedger, since: Since) -> int:
    """Begin the timers that some requests lack. Returns how many."""
    await lock_for_batch(connection, [sr.encode() for _, sr in keys], ())
    await ledger.load(connection, keys)
    return await watch_rows.begin_missing(connection, beginning(keys, ledger.standing, since))
