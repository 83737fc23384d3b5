"""The SQLite store: one writer that commits whole batches, one reader, and the lock that keeps others out.

The writer takes everything that waits, runs it in one transaction in the connection's thread, and resolves the
futures after COMMIT with fsync. There is no timer: the commit in progress is the window in which the next batch gathers.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.core.errors import GatewayError, StoreCorrupt, StoreError, StoreFailed, StoreOverloaded
from gateway.core.records import Claim, Counts, Message, NewMessage, Owed, Settlement, SinkState, Stored
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite import operations, purging, reads, writes
from gateway.store.sqlite.batch import Batch, Done, Told
from gateway.store.sqlite.long_read import Aside, Look
from gateway.store.sqlite.migrations import Upgrade
from gateway.store.sqlite.standing import Standing
from gateway.store.sqlite.timeline import Timeline

_T = TypeVar("_T")
_Job = TypeVar("_Job")
MOST_WAITING = 480
"""Messages that may wait for a commit; more are refused, so that a slow disk costs no memory. Below the number of connections
that the server takes, or it could never be reached."""
_LOOK_SECONDS = 1.0
"""Between two looks at all files of the database; a commit looks at those that it writes to."""


class Store:
    """Built by `open`; `run` has to run beside it for anything to be committed."""

    def __init__(
        self,
        path: Path,
        writer: opening.Connection,
        reader: opening.Connection,
        desk: opening.Connection,
        lock: opening.LockFile,
        retention: float,
        timeline: Timeline,
    ) -> None:
        self.path = path
        self.retention = retention
        self.timeline = timeline
        self.after_unclean_end = lock.after_unclean_end
        self.unchecked = lock.unchecked
        """Since an unclean end nobody has read the whole file, as `quick_check` does."""
        self.on_commit: Callable[[int, float], None] = lambda size, seconds: None
        """Told after each commit how many jobs it held and the seconds it took."""
        self.on_told: Callable[[int], None] = lambda mark: None
        """Told after each commit of the mark up to which everybody has been told of what is committed."""
        self.logged_to: Callable[[], int] = lambda: 0
        """Asked for the mark up to which all that was told stands in the audit log."""
        self._forgotten_to = 0
        self._writer = writer
        self._reader = reader
        self._desk = desk
        self._lock = lock
        self._wal = opening.Wal(path)
        self._standing = Standing(path)
        self._waiting = Batch()
        self._wake = asyncio.Event()
        self._broken: StoreError | None = None
        self.trouble: str | None = None
        """Why the last commit, or what it left to be done, did not succeed; None: it did."""
        self._closing = False

    @classmethod
    async def open(cls, path: Path, retention: float, upgrade: Upgrade | None = None) -> Store:
        """Open or create the database, and bring its schema up.

        Args:
            retention: seconds for which a message is kept and makes duplicates.
            upgrade: how, where the database is of an earlier version; None: by the scripts of this one.
        Raises:
            StoreLocked: another process has it (exit 73).
            StoreCorrupt: it can't be trusted, and was left as it is (exit 65).
            StoreFailed: the file can't be opened or the disk can't keep the promise (exit 74).
        """
        lock = opening.LockFile(path)
        lock.take()
        try:
            async with AsyncExitStack() as opened:
                writer = await opening.open_writer(path, upgrade)
                opened.push_async_callback(writer.close)
                reader = await opening.open_reader(path)
                opened.push_async_callback(reader.close)
                desk = await opening.open_reader(path)
                opened.push_async_callback(desk.close)
                store = cls(path, writer, reader, desk, lock, retention, Timeline(*await reader.run(reads.timeline)))
                opened.pop_all()
                return store
        except BaseException:
            with suppress(StoreFailed):  # what was met first tells more
                lock.release(clean=not lock.after_unclean_end)
            raise

    def submit(self, new: NewMessage, told: Told) -> None:
        """Commit a message with all its deliveries, or find the first message that it repeats.

        `told` is called once, in the event loop, when that is on disk: before any task runs that a commit wakes. It gets
        StoreOverloaded or StoreError where it can't be committed now; nothing of it is stored then, or (where the commit
        itself failed) it may reappear, and the sender's next try is a duplicate.
        """
        if self._broken is not None:
            told(self._broken)
        elif len(self._waiting.accepts) >= MOST_WAITING:
            told(StoreOverloaded("too many messages wait for the disk"))
        else:
            self._waiting.accepts.append((self.timeline.new(new), told))
            self._wake.set()

    async def accept(self, new: NewMessage) -> Stored:
        """Submit a message, and wait until it is committed. Raises what `submit` raises."""
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def told(result: Stored | Exception) -> None:
            if stored.done():
                return
            if isinstance(result, Exception):
                stored.set_exception(result)
            else:
                stored.set_result(result)

        self.submit(new, told)
        return await stored

    def settle(self, settlement: Settlement, told: Callable[[bool], None] | None = None) -> asyncio.Future[bool]:
        """Commit what became of a claimed delivery; False where it left `queued` meanwhile (a person discarded it).

        `told` is called with that as soon as it is on disk, in the order of the commits; it must not raise.
        A future, so that who is cancelled can still learn what became of it: its SQL is not stopped by that.
        """
        return self._add(self._waiting.settles, self.timeline.settlement(settlement), told)

    async def claim(
        self,
        sink: str,
        now: float,
        limit: int,
        busy: Collection[int],
        *,
        by_sr: bool = False,
        room: int = reads.MOST_CLAIMED_BYTES,
    ) -> Claim:
        """Up to `limit` due deliveries of a sink that are not in its hands yet (`busy`: their seqs), oldest first.

        `room` is how many bytes of memory they may take together, the first one aside.
        """
        due = self.timeline.stored(now)
        claimed = await self.read(lambda connection: reads.claim(connection, sink, due, limit, busy, by_sr=by_sr, room=room))
        return self.timeline.claim(claimed)

    async def expired(self, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
        """Up to `limit` open deliveries of a sink that were accepted or replayed before an instant, the oldest first."""
        since = self.timeline.stored(before)
        return self.timeline.owed(await self.read(lambda connection: reads.expired(connection, sink, since, limit, busy)))

    async def oldest_due(self, sink: str, *, by_sr: bool = False) -> float | None:
        """When the delivery of a sink that waits longest was, or will be, due; with `by_sr`, of those that may be claimed."""
        due = await self.read(lambda connection: reads.oldest_due(connection, sink, by_sr=by_sr))
        return None if due is None else self.timeline.shown(due)

    async def purge(self, after: int, slice_size: int, before: float) -> tuple[int, int | None]:
        """Delete a slice of finished messages received before an instant, and of the threads unused since then.

        Args:
            after: the seq to go on after; 0 begins.
            slice_size: messages to look at, at most, see `purging.purge`.
        Returns how many messages went, and the seq to go on after; None where no older message follows.
        """

        def work(connection: sqlite3.Connection, changes: writes.Changes) -> purging.Purged:
            purging.purge_threads(connection, slice_size, before)
            return purging.purge(connection, after, slice_size, before, changes)

        purged: purging.Purged = await self._add(self._waiting.works, work)
        if purged.at_end:
            return purged.gone, None
        if purged.any_old:
            return purged.gone, purged.last
        return purged.gone, await self.ask(lambda connection: reads.before_next_old(connection, purged.last, before))

    async def change(
        self, work: Callable[[sqlite3.Connection, writes.Changes], _T], told: Callable[[_T], None] | None = None
    ) -> _T:
        """Run one of the functions of `operations` in the next commit; `told` as for `settle`."""
        return cast("_T", await self._add(self._waiting.works, work, told))

    async def keep_sink(self, sink: str, state: SinkState) -> None:
        """Remember a lane's pause, breaker and hold."""
        await self.change(lambda connection, changes: operations.keep_sink(connection, sink, state))

    def use(self, retention: float) -> None:
        """Keep messages for another time from now on, in seconds."""
        self.retention = retention

    @property
    def at_work(self) -> dict[str, int | None]:
        """What the writer and the reader of the lanes are running, see `Connection.at_work`."""
        return {"writer": self._writer.at_work, "reader": self._reader.at_work}

    async def counts(self) -> dict[str, Counts]:
        return await self.read(reads.counts)

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run one of the functions of `reads`."""
        return await self._explained(self._reader.run(query))

    async def ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run one of the functions of `queries`, on a connection of its own: no lane waits for a person's question."""
        return await self._explained(self._desk.run(query))

    async def messages_after(self, seq: int, limit: int) -> list[tuple[int, str, Message, tuple[str, ...]]]:
        return await self.read(lambda connection: reads.messages_after(connection, seq, limit))

    def aside(self, function: Look[_T]) -> Aside[_T]:
        """Begin what reads for minutes, on a connection and in a thread of its own; to be ended by who began it."""
        return Aside(self.path, function)

    async def quick_check(self) -> None:
        """Read the whole file beside the traffic, on a connection of its own; raises StoreCorrupt.

        It takes minutes where the file is big; cancelled, it ends at once, and is owed to the next start.
        """
        checking = self.aside(reads.quick_check)
        try:
            answer = await self._explained(asyncio.shield(checking.ended))
        finally:
            await checking.end()
        if answer != "ok":
            await self._look_at_files()
            raise StoreCorrupt(f"{self.path}: quick_check says: {answer}; stop, keep the file, and restore a backup")
        self.unchecked = self._lock.unchecked = False

    async def run(self) -> None:
        """Commit until `close`. Ends with StoreFailed or StoreCorrupt if the disk or the files can't be trusted any more."""
        loop = asyncio.get_running_loop()
        try:
            look_at = loop.time() + _LOOK_SECONDS
            while True:
                committed = await self.step()
                if loop.time() >= look_at:
                    await self._look_at_files()
                    if not committed and self.logged_to() > self._forgotten_to:
                        self._add(self._waiting.works, lambda connection, changes: None)  # nothing else would make it forget
                    look_at = loop.time() + _LOOK_SECONDS
                if committed:
                    continue
                if self._closing:
                    self._broken = StoreError("the gateway is stopping")
                    return
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(look_at):
                        await self._wake.wait()
        except BaseException as error:
            # Nobody will commit any more: whoever waits for it, or will, has to be told, or the process would never end.
            self._broken = self._broken or StoreError(f"the writer has ended ({type(error).__name__})")
            self._waiting.fail(self._broken)
            raise

    async def step(self) -> bool:
        """Commit one batch of what waits; False where nothing did."""
        if not self._waiting:
            return False
        batch = self._waiting.take()
        await self._commit(batch)
        return True

    async def close(self, *, clean: bool = True) -> None:
        """Refuse further work and release everything; what waits should have been committed by `run` before."""
        self._broken = self._broken or StoreError("the gateway is stopping")
        self._waiting.fail(self._broken)
        # The last connection to close moves the write-ahead log into the file and removes it, if it may write. Files that can't
        # be trusted, or are somebody else's by now, are left as they are: the readers, which may not write, close last then.
        untrusted = isinstance(self._broken, StoreFailed | StoreCorrupt)
        readers, writer = (self._reader, self._desk), (self._writer,)
        for connection in (*writer, *readers) if untrusted else (*readers, *writer):
            await connection.close()
        self._wal.close()
        self._standing.close()
        self._lock.release(clean=clean)

    def finish(self) -> None:
        """Let `run` end once nothing waits any more."""
        self._closing = True
        self._wake.set()

    async def _look_at_files(self) -> None:
        """See that every file is still there, whether or not anything is committed. Raises StoreFailed."""
        await self._in_writer(lambda _: self._standing.check())

    async def _explained(self, answer: Awaitable[_T]) -> _T:
        """Await what a reader answers. Raises StoreFailed that names what happened to the files, where that made it fail."""
        try:
            return await answer
        except (StoreFailed, StoreCorrupt, sqlite3.DatabaseError):
            await self._look_at_files()
            raise

    async def _in_writer(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do something between two commits. After StoreFailed or StoreCorrupt nothing is taken any more."""
        try:
            await self._writer.run(work)
        except (StoreFailed, StoreCorrupt) as error:
            self._broken, self.trouble = error, str(error)
            raise

    def _add(self, jobs: list[tuple[_Job, Done]], job: _Job, told: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            future.set_exception(self._broken)
        else:
            jobs.append((job, Done(future, told)))
            self._wake.set()
        return future

    async def _commit(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()

        logged_to = self.logged_to()

        def work(connection: sqlite3.Connection) -> tuple[list[Stored], list[Any], int, bool]:
            with self._standing.writing():
                committed = batch.commit(connection, self.retention, logged_to, loop.time)
            return *committed, self._wal.is_long()

        try:
            accepted, done, mark, wal_is_long = await self._writer.run(work)
        except (StoreFailed, StoreCorrupt) as error:
            self._broken, self.trouble = error, str(error)
            batch.fail(error)
            raise
        except asyncio.CancelledError:
            batch.fail(StoreError("the writer was stopped before it could tell whether this was committed"))
            raise
        except GatewayError as error:
            self.trouble = str(error)
            batch.fail(error)
        except Exception as error:
            # A bug in one job must not fail its neighbours: each once more, alone.
            if len(batch) == 1:
                batch.fail(error)
            else:
                singles = deque(batch.alone())
                try:
                    while singles:
                        await self._commit(singles.popleft())
                except BaseException as fatal:
                    for single in singles:
                        single.fail(fatal if isinstance(fatal, StoreError) else StoreError("the writer has ended"))
                    raise
        else:
            self.on_commit(len(batch), loop.time() - started)
            self._waiting.works[:0] = batch.tell(accepted, done)
            self.on_told(mark)
            self._forgotten_to = logged_to
            self.trouble = await self._move_wal() if wal_is_long else None

    async def _move_wal(self) -> str | None:
        """Bound the write-ahead log, once those who waited for the commit are told; why it could not be done, if it passes."""

        def work(connection: sqlite3.Connection) -> None:
            with self._standing.moving():
                self._wal.move(connection)

        try:
            await self._in_writer(work)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            return str(error)  # the next commit tries again
        return None
