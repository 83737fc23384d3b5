"""The one writer: it takes everything that waits, and commits it as one transaction with one fsync. Knows no SQL of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.store.base import Audit
from gateway.store.commit_jobs import CommittedJobs, Work
from gateway.store.committing import Committing
from gateway.store.counted import Changes
from gateway.store.sqlite import operations
from gateway.store.sqlite.batch import Batch
from gateway.store.sqlite.connection import Connection
from gateway.store.sqlite.file_watch import FileWatch
from gateway.store.sqlite.judging import Ledger

_T = TypeVar("_T")
_LONG_LOG = 4000
"""Frames of the write-ahead log, a page each, after which it is moved into the file."""


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move the frames of the write-ahead log that no reader needs into the file. It does not wait for readers."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


class GroupCommit(Committing[Batch]):
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

        See `Committing` for the other arguments.
        """
        super().__init__(Batch(), retention=retention, audit=audit, on_commit=on_commit)
        self.connection = connection
        self.ledger = ledger
        self.checkpoint = checkpoint
        self._files = FileWatch(path)
        self._log_is_long = False

    async def change(self, work: Callable[[sqlite3.Connection, Changes], _T], told: Callable[[_T], None] | None = None) -> _T:
        """Run a function in the next commit that has time for it; `told` gets the result as soon as it is on disk."""
        return cast("_T", await self._add(work, told))

    async def flush_ledger(self) -> None:
        """Write all changed rows of the ledger, a slice to a transaction, so that the next start has nothing to judge again."""
        if self.untrusted or not self.ledger.hot.waiting:
            return

        def work(connection: sqlite3.Connection) -> None:
            with self._files.writing():
                self.ledger.flush_all(connection)

        await self._in_thread(work)

    def release(self) -> None:
        """Close the files that were watched; only after SQLite has closed them."""
        self._files.close()

    async def _look(self) -> None:
        await self.look_at_files()

    def _nothing(self) -> Work:
        return operations.nothing

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

    async def _transact(self, batch: Batch, logged_to: int) -> CommittedJobs:
        loop = asyncio.get_running_loop()

        def work(connection: sqlite3.Connection) -> CommittedJobs:
            with self._files.writing():
                accepted, done, mark = batch.commit(connection, self.retention, logged_to, loop.time, self.ledger)
            # Written here, and not handed to another thread, the lines cost those who wait for them little more than the commit.
            unwritten = self._audit.write_now(batch.lines(accepted, done))
            self._log_is_long = self._files.frames >= _LONG_LOG
            return CommittedJobs(accepted, done, mark, unwritten)

        return await self.connection.run(work)

    async def _after(self) -> str | None:
        if self.ledger.flushing and not self._waiting:
            self._add(operations.nothing)  # the next commit goes on with the flush
        return await self._move_log() if self._log_is_long else None

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
