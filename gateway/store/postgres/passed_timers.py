"""Timers of states that have passed. No message ended them, because no `[[watch]]` rule was there when the next state came.

They are looked for page by page beside the traffic; the writer then looks again, because a request may have moved on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.counted import Changes
from gateway.store.postgres import request_rows, watch_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.request_locks import lock_for_batch
from gateway.store.standing_timers import has_passed, request_of
from gateway.store.timer_rows import ForeignTimer, TimerKey


async def of_page(
    connection: Connection, after: TimerKey, size: int, *, exact: bool
) -> tuple[list[ForeignTimer], TimerKey | None]:
    """Look at the next `size` timers in the order of their keys, and find such ones.

    Args:
        exact: the store's own time is that of the wall clock, so that a state which passed and came again is told from before.
    Returns what `drop` takes, and the key to go on after; None at the end.
    """
    timers, go_on = await watch_rows.timers_after(connection, after, size)
    kept = await request_rows.read(connection, {request_of(timer) for timer in timers})
    return [timer for timer in timers if has_passed(timer, kept.get(request_of(timer)), exact=exact)], go_on


async def drop(
    connection: Connection, changes: Changes, *, timers: Sequence[ForeignTimer], ledger: PostgresLedger, exact: bool
) -> int:
    """Delete those of some timers whose state has passed. Returns how many."""
    await lock_for_batch(connection, [timer[1] for timer in timers], ())
    await ledger.load(connection, {request_of(timer) for timer in timers})
    passed = [timer for timer in timers if has_passed(timer, ledger.standing(request_of(timer)), exact=exact)]
    await watch_rows.drop(connection, changes, timers=passed)
    return len(passed)
