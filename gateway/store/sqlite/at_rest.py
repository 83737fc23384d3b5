"""A database that no process writes to: that of a stopped gateway, or a backup. It is read, and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gateway.core.documents import Backup, Health
from gateway.store.sqlite.backup import back_up
from gateway.store.sqlite.connection import roll_back_and_check
from gateway.store.sqlite.integrity import examine
from gateway.store.sqlite.lock import LockFile
from gateway.store.sqlite.long_read import LongReadThread
from gateway.store.sqlite.migrations import check_written
from gateway.store.sqlite.recovery import check_header


class SqliteAtRest:
    """The database of a gateway that is stopped; built by `hold`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def back_up(self, file: Path, *, now: float, min_free: int) -> LongReadThread[Backup]:
        """Begin to copy the database, see `base.Copying.back_up`; the work raises StoreCorrupt if the database is empty."""
        copy = partial(_back_up_written, database=self.path, file=file, now=now, min_free=min_free)
        return LongReadThread(self.path, copy, at_rest=True)

    def examine(self) -> LongReadThread[Health]:
        """Begin to check the database, see `base.Copying.examine`."""
        return examine_file(self.path)


@contextmanager
def hold(path: Path) -> Iterator[SqliteAtRest]:
    """Hold the lock of a database, and roll back what a killed process left, see `opening.hold`."""
    lock = LockFile(path)
    lock.take()
    try:
        roll_back_and_check(path)
        yield SqliteAtRest(path)
    finally:
        lock.release(clean=not lock.after_unclean_end)


def examine_file(file: Path) -> LongReadThread[Health]:
    """Begin to check a file. Raises StoreCorrupt if it is no database."""
    check_header(file)
    return LongReadThread(file, partial(examine, path=file), at_rest=True)


def _back_up_written(connection: sqlite3.Connection, *, database: Path, file: Path, now: float, min_free: int) -> Backup:
    check_written(connection, database)
    return back_up(connection, database=database, file=file, now=now, min_free=min_free)
