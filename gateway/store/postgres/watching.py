"""The verbs about what the gateway watches over time, see `store.base.Watching`. Owns no SQL itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from gateway.core.drift import DriftKind
from gateway.core.lasting import Lasting
from gateway.core.records import Companion
from gateway.core.watches import Timer, TimersBegun, TimersPlace, Watch
from gateway.store.columns import milliseconds
from gateway.store.postgres import passed_timers, untimed_requests, watch_rows
from gateway.store.postgres.connection import Session
from gateway.store.postgres.group_commit import PostgresCommits
from gateway.store.postgres.reading import PostgresReading
from gateway.store.standing_timers import Since
from gateway.store.timeline import Timeline
from gateway.store.timer_rows import FIRST_TIMER, TimerKey

_TIMERS: Final = 256
"""Timers that one commit deletes."""
_BEGUN_AT_ONCE: Final = 512
"""Timers that begin in one transaction."""


class WatchingVerbs(PostgresReading):
    """The part of a store that remembers what is watched, on top of the part that answers people."""

    def __init__(self, commits: PostgresCommits, reader: Session, questions: Session, timeline: Timeline) -> None:
        super().__init__(questions, lambda: commits.ledger.unjudged)
        self.commits = commits
        self.timeline = timeline
        self._reader = reader

    @property
    def retention(self) -> float:
        return self.commits.retention

    async def keep(self, companions: Sequence[Companion]) -> None:
        kept = self.timeline.companions(tuple(companions))
        await self.commits.change(partial(watch_rows.keep_alone, companions=kept))

    async def due_timers(self, watches: Sequence[Watch], now: float, limit: int) -> list[Timer]:
        instant = self.timeline.stored(now)
        due = await self._reader.run(partial(watch_rows.due_timers, watches=watches, now=instant, limit=limit))
        return [self.timeline.timer(timer) for timer in due]

    async def stalled(self, watches: Sequence[Watch], most: int) -> dict[str, int]:
        return await self.ask(partial(watch_rows.stalled, watches=watches, most=most))

    async def lasting(self) -> list[Lasting]:
        return await self.ask(watch_rows.all_lasting)

    async def known_words(self) -> dict[tuple[str, DriftKind], set[str]]:
        return await self.ask(watch_rows.known_words)

    async def words_learned(self, since: float, most: int) -> list[float]:
        instant = self.timeline.stored(since)
        learned = await self.ask(partial(watch_rows.words_learned, since=instant, most=most))
        return [self.timeline.shown(at) for at in learned]

    async def drop_timers(self, watches: Sequence[Watch]) -> int:
        rules, number = {watch.name: watch for watch in watches}, 0
        after: TimerKey | None = FIRST_TIMER
        while after is not None:
            timers, after = await self.ask(partial(watch_rows.foreign_timers, watches=rules, after=after, size=_TIMERS))
            if timers:
                await self.commits.change(partial(watch_rows.drop, timers=timers))
                number += len(timers)
        return number

    async def begin_timers(self, watches: Sequence[Watch], now: float, after: TimersPlace | None = None) -> TimersBegun:
        since, since_ms, number = Since(watches, now, self.timeline.stored), milliseconds(now - self.retention), 0
        if after is None:
            await self._drop_passed()
        page = partial(untimed_requests.of_page, watches=watches, since_ms=since_ms, after=after)
        keys, after = await self.ask(page)
        size = max(1, _BEGUN_AT_ONCE // max(1, len(watches)))
        for at in range(0, len(keys), size):
            some, ledger = keys[at : at + size], self.commits.ledger
            number += await self.commits.change(partial(untimed_requests.begin, keys=some, ledger=ledger, since=since))
        return TimersBegun(number, after)

    async def _drop_passed(self) -> None:
        exact = not self.timeline.jumped_ms
        after: TimerKey | None = FIRST_TIMER
        while after is not None:
            timers, after = await self.ask(partial(passed_timers.of_page, after=after, size=_TIMERS, exact=exact))
            if timers:
                drop = partial(passed_timers.drop, timers=timers, ledger=self.commits.ledger, exact=exact)
                await self.commits.change(drop)

    async def purge_told(self, rules: Collection[str], before: float) -> None:
        instant = self.timeline.stored(before)
        purge = partial(watch_rows.purge_told, rules=tuple(rules), before=instant, size=_TIMERS)
        while await self.commits.change(purge) == _TIMERS:
            pass
