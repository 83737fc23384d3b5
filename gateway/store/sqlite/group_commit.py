"""The one writer: it takes everything that waits, and commits it as one transaction with one fsync.

The next batch gathers during the commit in progress, and under load for up to 2 ms more. Knows no SQL of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.core.errors import GatewayError, StoreCorrupt, StoreError, StoreFailed, StoreOverloaded
from gateway.core.records import NewMessage, Settlement, Stored
from gateway.store.base import MOST_WAITING, Audit, Lines, Told, ToldSettled
from gateway.store.sqlite import operations
from gateway.store.sqlite.batch import Batch, Done, Work
from gateway.store.sqlite.connection import Connection
from gateway.store.sqlite.counting import Changes
from gateway.store.sqlite.file_watch import FileWatch
from gateway.store.sqlite.judging import Ledger

_T = TypeVar("_T")
_LONG_LOG = 4000
"""Frames of the write-ahead log, a page each, after which it is moved into the file."""
_GATHER_SECONDS = 0.002
"""Seconds that a commit waits at most for an event loop that goes on finding work."""
_QUIET_TURNS = 2
"""Turns without a new job until the loop has read the bytes that the kernel has: in the first turn it only learns of them."""
_LOOK_SECONDS = 1.0
"""Seconds between two looks at all files of the database; a commit looks at those that it writes to."""


class NoAudit:
    """Stands in for an audit log that nobody keeps: nobody makes lines either."""

    written_to = 0

    def write_now(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Write nothing."""
        return lines

    def add(self, lines: Sequence[bytes]) -> None:
        """Refuse lines: their audit log has to be given to the store."""
        if lines:
            raise RuntimeError("audit lines were given to a store that was opened without the audit log")

    def mark(self, mark: int) -> None:
        """Do nothing."""


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move the frames of the write-ahead log that no reader needs into the file. It does not wait for readers."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


class GroupCommit:
    """The writing connection and all that waits for it; `run` has to run for anything to be committed."""

    def __init__(
        self,
        path: Path,
        connection: Connection,
        *,
        retention: float,
        audit: Audit,
        on_commit: Callable[[int, float], None],
        ledger: Ledger,
    ) -> None:
        """Take the connection; the files are watched from now on. Raises StoreFailed if they cannot be read.

        Args:
            retention: seconds for which a message makes duplicates.
            on_commit: called after each commit with the number of jobs in it and the seconds it took.
        """
        self.retention = retention
        self.connection = connection
        self.ledger = ledger
        self.checkpoint = checkpoint
        self.trouble: str | None = None
        """Why the last commit, or the work after it, failed; None if it succeeded."""
        self.may_forget = False
        """The audit log has the lines of all earlier lives, so steps may be forgotten once their lines are written."""
        self._audit = audit
        self.on_commit = on_commit
        self._forgotten_to = 0
        self._files = FileWatch(path)
        self._waiting = Batch()
        self._wake = asyncio.Event()
        self._broken: StoreError | None = None
        """Why nothing is taken any more; it never changes back to None."""
        self._finishing = False
        self._last_size = 0
        """Jobs in the last commit. A job that comes alone need not wait for others."""

    @property
    def untrusted(self) -> bool:
        """The disk or the files can no longer be trusted."""
        return isinstance(self._broken, StoreFailed | StoreCorrupt)

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        """Put a message into the next commit, see `base.Accepting.submit`."""
        if self._broken is not None:
            told(self._broken)
        elif len(self._waiting.accepts) >= MOST_WAITING:
            told(StoreOverloaded("too many messages wait for the disk"))
        else:
            self._waiting.accepts.append((new, told, lines))
            self._wake.set()

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Lines[bool] | None = None) -> None:
        """Put an outcome into the next commit, see `base.Delivering.submit_settlement`."""
        if self._broken is not None:
            told(self._broken)
        else:
            self._waiting.settles.append((settlement, told, lines))
            self._wake.set()

    async def change(self, work: Callable[[sqlite3.Connection, Changes], _T], told: Callable[[_T], None] | None = None) -> _T:
        """Run a function in the next commit that has time for it; `told` gets the result as soon as it is on disk."""
        return cast("_T", await self._add(work, told))

    async def run(self) -> None:
        """Commit until `finish`. Raises StoreFailed or StoreCorrupt if the disk or the files can no longer be trusted."""
        loop = asyncio.get_running_loop()
        try:
            look_at = loop.time() + _LOOK_SECONDS
            while True:
                committed = await self.step()
                if loop.time() >= look_at:
                    await self.look_at_files()
                    if not committed and self._logged_to() > self._forgotten_to:
                        self._add(operations.nothing)  # no other commit is near that would forget the steps
                    look_at = loop.time() + _LOOK_SECONDS
                if committed:
                    continue
                if self._finishing:
                    self._broken = StoreError("the gateway is stopping")
                    return
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(look_at):
                        await self._wake.wait()
        except BaseException as error:
            # No commit will follow: every caller that waits for one has to be told, or the process would never end.
            self._broken = self._broken or StoreError(f"the writer has ended ({type(error).__name__})")
            self._waiting.fail(self._broken)
            raise

    async def step(self) -> bool:
        """Commit one batch of what waits; False if nothing waits."""
        if not self._waiting:
            return False
        if self._last_size > 1:
            await self._gather()
        batch = self._waiting.take()
        self._last_size = len(batch)
        await self._commit(batch)
        return True

    async def _gather(self) -> None:
        """Let the event loop finish what it is doing, so that the jobs that this produces are in the same commit.

        A commit costs about as much as 20 messages, so under load few big ones leave more of the processor than many small ones.
        """
        loop, waiting = asyncio.get_running_loop(), self._waiting
        until, quiet, before = loop.time() + _GATHER_SECONDS, 0, 0
        while quiet < _QUIET_TURNS and loop.time() < until:
            quiet, before = (quiet + 1 if len(waiting) == before else 0), len(waiting)
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Let `run` end once nothing waits any more."""
        self._finishing = True
        self._wake.set()

    async def flush_ledger(self) -> None:
        """Write all changed rows of the ledger, a slice to a transaction, so that the next start has nothing to judge again."""
        if self.untrusted or not self.ledger.hot.waiting:
            return

        def work(connection: sqlite3.Connection) -> None:
            with self._files.writing():
                self.ledger.flush_all(connection)

        await self._in_thread(work)

    def refuse(self) -> None:
        """Take nothing any more, and fail what still waits."""
        self._broken = self._broken or StoreError("the gateway is stopping")
        self._waiting.fail(self._broken)

    def release(self) -> None:
        """Close the files that were watched; only after SQLite has closed them."""
        self._files.close()

    async def look_at_files(self) -> None:
        """Check that every file of the database is still in its place. Raises StoreFailed."""
        await self._in_thread(lambda _: self._files.check())

    async def _in_thread(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run a function between two commits. After StoreFailed or StoreCorrupt nothing is taken any more."""
        try:
            await self.connection.run(work)
        except (StoreFailed, StoreCorrupt) as error:
            self._broken, self.trouble = error, str(error)
            raise

    def _add(self, work: Work, told: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            future.set_exception(self._broken)
        else:
            self._waiting.works.append((work, Done(future, told)))
            self._wake.set()
        return future

    def _logged_to(self) -> int:
        return self._audit.written_to if self.may_forget else 0

    async def _commit(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()

        logged_to = self._logged_to()
        new_lines_to = logged_to if logged_to > self._forgotten_to else 0

        def work(connection: sqlite3.Connection) -> tuple[list[Stored], list[Any], int, Sequence[bytes], bool]:
            with self._files.writing():
                accepted, done, mark = batch.commit(connection, self.retention, new_lines_to, loop.time, self.ledger)
            # Written here, and not handed to another thread, the lines cost those who wait for them little more than the commit.
            unwritten = self._audit.write_now(batch.lines(accepted, done))
            return accepted, done, mark, unwritten, self._files.frames >= _LONG_LOG

        try:
            accepted, done, mark, unwritten, log_is_long = await self.connection.run(work)
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
            # A bug in one job must not fail its neighbours: run each job once more, alone.
            if len(batch) == 1:
                batch.fail(error)
            else:
                await self._commit_each(batch)
        else:
            self.on_commit(len(batch), loop.time() - started)
            self._audit.add(unwritten)
            self._waiting.put_back(batch.tell(accepted, done))
            if self.ledger.flushing and not self._waiting:
                self._add(operations.nothing)  # the next commit goes on with the flush
            self._audit.mark(mark)
            self._forgotten_to = logged_to
            self.trouble = await self._move_log() if log_is_long else None

    async def _commit_each(self, batch: Batch) -> None:
        singles = deque(batch.singles())
        try:
            while singles:
                await self._commit(singles.popleft())
        except BaseException as fatal:
            for single in singles:
                single.fail(fatal if isinstance(fatal, StoreError) else StoreError("the writer has ended"))
            raise

    async def _move_log(self) -> str | None:
        """Move the write-ahead log into the file, after those who waited for the commit were told.

        Returns why that failed, if it may succeed the next time.
        """

        def work(connection: sqlite3.Connection) -> None:
            with self._files.moving():
                self.checkpoint(connection)

        try:
            await self._in_thread(work)
        except (StoreFailed, StoreCorrupt):
            raise
        except StoreError as error:
            return str(error)  # the next commit tries again
        return None
