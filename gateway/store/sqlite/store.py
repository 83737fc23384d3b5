"""The store in one SQLite file: the verbs of `store.base`, on one writing and two reading connections. Owns no SQL itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from gateway.core.audit_events import DeliveryDiscarded, DeliveryReplayed
from gateway.core.conversation import Conversation
from gateway.core.documents import Backup, Health, LedgerProgress, Redecoded, Redecoding
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Companion, KeptGates, Message, NewMessage, Settlement, Stored
from gateway.core.selection import DeliveryState, SinkAct, Target
from gateway.core.values import claim_of
from gateway.core.watches import TimersBegun, TimersPlace, Watch
from gateway.store import turns
from gateway.store.base import Audit, Lines, Told, ToldSettled
from gateway.store.columns import milliseconds
from gateway.store.commit_jobs import tell
from gateway.store.committing import NoAudit
from gateway.store.counted import Changes
from gateway.store.hot_rows import Key
from gateway.store.sqlite import (
    act_rows,
    backup,
    conversation_rows,
    counting,
    filling,
    integrity,
    joining,
    operations,
    ordering,
    passed_timers,
    purging,
    redecoding,
    rulebook,
    sink_rows,
    timeline_row,
    unlogged,
    untimed_requests,
    watch_rows,
)
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite.group_commit import GroupCommit
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.lock import LockFile
from gateway.store.sqlite.long_read import LongReadThread, Look
from gateway.store.sqlite.migrations import Upgrade
from gateway.store.sqlite.reading import Reading
from gateway.store.sqlite.timeline_row import read_timeline
from gateway.store.standing_timers import Since
from gateway.store.steps import acted_step
from gateway.store.timeline import Timeline
from gateway.store.timer_rows import FIRST_TIMER, TimerKey
from gateway.store.turns import Place

_T = TypeVar("_T")
_SLICE = 256
"""Deliveries changed in one transaction by the verbs that divide their work into slices themselves."""
_TIMERS = 48
"""Timers that one commit deletes, because each is a statement of its own."""
_JUDGED_AT_ONCE = 1
"""Messages judged again by one operation. Each takes about 40 statements, and may look at 1,000 others."""
_BEGUN_AT_ONCE = 512
"""Timers that begin in one transaction."""


class SqliteStore(Reading):
    """Built by `open`; `run` has to run beside it for anything to be committed. The verbs are described in `store.base`."""

    def __init__(
        self,
        path: Path,
        commits: GroupCommit,
        reader: opening.Connection,
        questions: opening.Connection,
        lock: LockFile,
        timeline: Timeline,
    ) -> None:
        super().__init__(path, reader, questions, timeline, commits.look_at_files, commits.ledger)
        self.commits = commits
        self.after_unclean_end = lock.after_unclean_end
        self.unchecked = lock.unchecked
        self._lock = lock

    @classmethod
    async def open(
        cls,
        path: Path,
        retention: float,
        upgrade: Upgrade | None = None,
        *,
        now: Callable[[], float] | None = None,
        audit: Audit | None = None,
        on_commit: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> Self:
        """Open or create the database, and bring its schema up. See `opening.open_store` for the arguments and the errors.

        Args:
            upgrade: how to bring up a database of an earlier version; None: by the scripts of this version.
            now: tells the wall clock; None: the clock counts as one that never jumped.
        """
        lock = LockFile(path)
        lock.take()
        try:
            async with AsyncExitStack() as opened:
                writer = await opening.open_writer(path, upgrade)
                opened.push_async_callback(writer.close)
                reader = await opening.open_reader(path)
                opened.push_async_callback(reader.close)
                questions = await opening.open_reader(path)
                opened.push_async_callback(questions.close)
                timeline = Timeline(*await reader.run(read_timeline))
                if now is not None:
                    timeline.begin(now())
                ledger = Ledger()
                await writer.run(partial(filling.reopen, ledger=ledger))
                commits = GroupCommit(
                    path, writer, retention=retention, audit=audit or NoAudit(), on_commit=on_commit, ledger=ledger
                )
                store = cls(path, commits, reader, questions, lock, timeline)
                opened.pop_all()
                return store
        except BaseException:
            with suppress(StoreFailed):  # the first error says more
                lock.release(clean=not lock.after_unclean_end)
            raise

    @property
    def retention(self) -> float:
        return self.commits.retention

    @property
    def trouble(self) -> str | None:
        return self.commits.trouble

    @property
    def at_work(self) -> dict[str, int | None]:
        return {"writer": self.commits.connection.at_work, "reader": self._reader.at_work}

    def use(self, retention: float) -> None:
        self.commits.retention = retention

    async def run(self) -> None:
        await self.commits.run()

    def finish(self) -> None:
        self.commits.finish()

    async def close(self, *, clean: bool = True) -> None:
        self.commits.refuse()
        with suppress(StoreError):  # the next start judges again what could not be written
            await self.commits.flush_ledger()
        # The last connection to close moves the write-ahead log into the file and removes it, if it may write. Files that can't
        # be trusted, or that belong to another process now, stay as they are: the readers, which may not write, close last then.
        readers, writer = (self._reader, self._questions), (self.commits.connection,)
        for connection in (*writer, *readers) if self.commits.untrusted else (*readers, *writer):
            await connection.close()
        self.commits.release()
        self._lock.release(clean=clean)

    async def quick_check(self) -> None:
        checking = self._aside(integrity.quick_check)
        try:
            answer = await self._explained(asyncio.shield(checking.ended))
        finally:
            await checking.end()
        if answer != "ok":
            await self.commits.look_at_files()
            raise StoreCorrupt(f"{self.path}: quick_check says: {answer}; stop, keep the file, and restore a backup")
        self.unchecked = self._lock.unchecked = False

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        self.commits.submit(self.timeline.new(new), told, lines)

    async def accept(self, new: NewMessage) -> Stored:
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self.submit(new, partial(tell, stored))
        return await stored

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Lines[bool] | None = None) -> None:
        self.commits.submit_settlement(self.timeline.settlement(settlement), told, lines)

    def settle(self, settlement: Settlement, lines: Lines[bool] | None = None) -> asyncio.Future[bool]:
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.submit_settlement(settlement, partial(tell, settled), lines)
        return settled

    async def close_join(self, seq: int, sink: str) -> Message | None:
        return await self.change(partial(joining.close, seq=seq, sink=sink))

    async def part(self, seq: int, sink: str, now: float) -> bool:
        return await self.change(partial(joining.part, seq=seq, sink=sink, now=self.timeline.stored(now)))

    async def keep_gates(self, sink: str, state: KeptGates) -> None:
        await self.change(partial(sink_rows.keep_gates, sink=sink, state=state))

    async def bring_into_order(self, in_order: Collection[str], sinks: Collection[str]) -> list[str]:
        new = await self.read(lambda connection: sink_rows.unordered(connection, in_order=in_order, sinks=sinks))
        for name in new:
            after: Place | None = turns.BEGINNING
            while after is not None:
                after = await self.change(partial(ordering.bring_into_order, sink=name, after=after, size=_SLICE))
        return new

    async def sync_sinks(self, sinks: Collection[str], in_order: Collection[str], now: float) -> None:
        instant = self.timeline.stored(now)
        await self.change(partial(sink_rows.sync_sinks, sinks=tuple(sinks), in_order=tuple(in_order), now=instant))

    async def clamp_due(self, sink: str, latest: float) -> None:
        instant = self.timeline.stored(latest)
        while await self.change(partial(operations.clamp_due, sink=sink, latest=instant, size=_SLICE)) == _SLICE:
            pass

    async def keep_conversation(self, sink: str, channel: str, sr: str, conversation: Conversation, now: float) -> None:
        await self.change(partial(conversation_rows.keep, sink=sink, channel=channel, sr=sr, conversation=conversation, now=now))

    async def try_disk(self) -> None:
        await self.change(operations.touch)

    def shift_clock(self, seconds: float) -> None:
        self.timeline.jump(seconds)

    async def keep_time(self, now: float) -> None:
        await self.change(partial(timeline_row.keep_time, jumped_ms=self.timeline.jumped_ms, seen=now))

    async def purge(self, after: int, slice_size: int, before: float) -> tuple[int, int | None]:
        purged = await self.change(
            partial(purging.purge_slice, after=after, slice_size=slice_size, before=before, ledger=self.commits.ledger)
        )
        if purged.at_end:
            return purged.gone, None
        if purged.any_old:
            return purged.gone, purged.last
        return purged.gone, await self.ask(lambda connection: purging.before_next_old(connection, purged.last, before))

    def take_ledger_bug(self) -> Exception | None:
        bug, self.ledger.bug = self.ledger.bug, None
        return bug

    async def fill_ledger(self) -> LedgerProgress:
        if not self.ledger.live:
            seconds = asyncio.get_running_loop().time
            await self.change(partial(filling.fill_slice, ledger=self.ledger, seconds=seconds))
        return await self.ledger_progress()

    async def keep_rules(self, snapshot: bytes, now: float) -> int:
        return await self.change(partial(rulebook.keep, snapshot=snapshot, now=now))

    async def use_rules(self, number: int, now: float) -> None:
        await self.change(partial(rulebook.use, number=number, now=now))

    async def mend_counters(self, sink: str, by: Mapping[str, int]) -> None:
        await self.change(partial(counting.mend_counters, sink=sink, by=by))

    async def keep(self, companions: Sequence[Companion]) -> None:
        kept = self.timeline.companions(tuple(companions))
        await self.change(partial(watch_rows.keep_alone, companions=kept))

    async def drop_timers(self, watches: Sequence[Watch]) -> int:
        rules, number = {watch.name: watch for watch in watches}, 0
        after: TimerKey | None = FIRST_TIMER
        while after is not None:
            page = partial(watch_rows.foreign_timers, watches=rules, after=after, size=_TIMERS)
            timers, after = await self.ask(page)
            if timers:
                await self.change(partial(watch_rows.drop, timers=timers))
                number += len(timers)
        return number

    async def begin_timers(self, watches: Sequence[Watch], now: float, after: TimersPlace | None = None) -> TimersBegun:
        if not self.ledger.live:
            return TimersBegun(0, None, complete=False)
        since, since_ms, number = Since(watches, now, self.timeline.stored), milliseconds(now - self.retention), 0
        if after is None:
            await self._drop_passed()
            # The rows that the file lacks come first: what is flushed later is found in the file.
            rows = list(self.ledger.hot.unflushed().items())
            for at in range(0, len(rows), untimed_requests.PAGE):
                some = rows[at : at + untimed_requests.PAGE]
                keys = await self.ask(partial(untimed_requests.of_rows, watches=watches, since_ms=since_ms, rows=some))
                number += await self._begin_timers(keys, since)
        page = partial(untimed_requests.of_page, watches=watches, since_ms=since_ms, after=after)
        keys, after = await self.ask(page)
        return TimersBegun(number + await self._begin_timers(keys, since), after)

    async def _drop_passed(self) -> None:
        exact = not self.timeline.jumped_ms
        after: TimerKey | None = FIRST_TIMER
        while after is not None:
            page = partial(passed_timers.of_page, after=after, size=_TIMERS, rows=self.ledger_rows(), exact=exact)
            timers, after = await self.ask(page)
            if timers:
                await self.change(partial(passed_timers.drop, timers=timers, ledger=self.ledger, exact=exact))

    async def _begin_timers(self, keys: Sequence[Key], since: Since) -> int:
        size, number = max(1, _BEGUN_AT_ONCE // max(1, len(since.watches))), 0
        for at in range(0, len(keys), size):
            some = keys[at : at + size]
            number += await self.change(partial(untimed_requests.begin, keys=some, ledger=self.ledger, since=since))
        return number

    async def purge_told(self, rules: Collection[str], before: float) -> None:
        instant = self.timeline.stored(before)
        gone = _TIMERS
        while gone == _TIMERS:
            gone = await self.change(partial(watch_rows.purge_told, rules=tuple(rules), before=instant, size=_TIMERS))

    async def end_catch_up(self) -> None:
        if mark := await self.read(unlogged.newest):
            await self.change(partial(unlogged.forget_lives_before, mark=mark))
        self.commits.may_forget = True

    async def reopen(
        self,
        targets: Sequence[Target],
        states: Sequence[DeliveryState],
        *,
        add: bool,
        now: float,
        actor: str,
        told: Callable[[list[Target]], None] | None = None,
    ) -> list[Target]:
        change: Callable[..., list[Target]] = operations.add_or_reopen if add else operations.reopen
        # A beginning is kept in the store's own time, and an end by the wall clock.
        change = partial(change, states=states, now=self.timeline.stored(now))
        step = acted_step(DeliveryReplayed.name, now, actor)
        return await self.change(partial(operations.by_person, targets=targets, change=change, step=step, act="replay"), told)

    async def discard(
        self, targets: Sequence[Target], *, now: float, actor: str, told: Callable[[list[Target]], None] | None = None
    ) -> list[Target]:
        change = partial(operations.discard, now=now)
        step = acted_step(DeliveryDiscarded.name, now, actor)
        return await self.change(partial(operations.by_person, targets=targets, change=change, step=step, act="discard"), told)

    async def keep_act(self, act: SinkAct, subject: str, *, now: float, actor: str, detail: str = "") -> int:
        who, claimed = str(actor), claim_of(actor)
        return await self.change(
            partial(act_rows.keep_act, act=act, subject=subject, now=now, actor=who, claimed=claimed, detail=detail)
        )

    async def end_act(self, id: int, detail: str) -> None:
        await self.change(partial(act_rows.end_act, id=id, detail=detail))

    async def redecode(
        self,
        decoded: Sequence[Redecoding],
        told: Callable[[list[Redecoded]], None] | None = None,
        *,
        watches: Sequence[Watch] = (),
        now: float,
    ) -> list[Redecoded]:
        since, done = Since(watches, now, self.timeline.stored), list[Redecoded]()
        for at in range(0, len(decoded), _JUDGED_AT_ONCE):
            some = decoded[at : at + _JUDGED_AT_ONCE]
            changed = await self.change(partial(redecoding.redecode, decoded=some, ledger=self.ledger, since=since), told)
            done += changed
        return done

    def back_up(self, file: Path, *, now: float, min_free: int) -> LongReadThread[Backup]:
        return self._aside(partial(backup.back_up, database=self.path, file=file, now=now, min_free=min_free))

    def examine(self) -> LongReadThread[Health]:
        return self._aside(partial(integrity.examine, path=self.path))

    async def change(self, work: Callable[[sqlite3.Connection, Changes], _T], told: Callable[[_T], None] | None = None) -> _T:
        """Run a function in the next commit, for the verbs; `told` as for `reopen`."""
        return await self.commits.change(work, told)

    def _aside(self, function: Look[_T]) -> LongReadThread[_T]:
        return LongReadThread(self.path, function)
