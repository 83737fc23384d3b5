"""Watching the files of an open database, so that the next start finds what is acknowledged now.

SQLite goes on writing into files that were removed, renamed or replaced under it (sqlite.org/howtocorrupt.html, section 4), and
never reports it. A look costs one stat(2) per file, some microseconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.errors import StoreFailed
from gateway.store.sqlite.wal_end import WalEnd

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
"""Bytes (sqlite.org/fileformat2.html, section 1.3): with the number of pages and a counter that rises as they become more."""
_DO = (
    "nothing is acknowledged any more. Stop the gateway before one of these files is moved, removed, written to or restored;"
    " put back what was there, or a backup, and start again"
)


class FileWatch:
    """The state of the files as their only writer left them. Only the writer's thread uses it, except `close`."""

    def __init__(self, database: Path) -> None:
        """Remember the files as they are now: SQLite has them open, and nothing is being written. Raises StoreFailed."""
        self._database = database
        suffixes = ("-wal", "-shm", ".lock")
        self._wal, self._index, self._lock = (database.with_name(f"{database.name}{suffix}") for suffix in suffixes)
        try:
            # It stays open for as long as SQLite has it open: closing it would drop SQLite's locks.
            self._fd = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
            self._wal_end = WalEnd(self._wal, self._index)
            self._identity = {path: _identity(os.stat(path)) for path in (database, self._wal, self._index, self._lock)}
            self._lock_size = os.stat(self._lock).st_size
        except OSError as error:
            raise StoreFailed(f"{error.filename}: {error.strerror}") from None
        self._size = self._changed = self._wal_size = 0
        self._settle()

    @property
    def frames(self) -> int:
        """Frames in the log, a page each, after the last transaction."""
        return self._wal_end.frames

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Check before a transaction that it goes into the right files, and after it that it went there.

        Raises StoreFailed, also in place of an error that SQLite meets because something happened to its files.
        """
        self._check_places()
        try:
            yield
        except sqlite3.DatabaseError:
            self.check()
            raise
        self._remember_wal(self._check_places())

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Check before the log is moved into the database that it is whole, and remember how both look then.

        Raises StoreFailed as `writing` does.
        """
        self.check()
        try:
            yield
        except sqlite3.DatabaseError:
            self._check_beside()
            self._settle()  # on a full disk, for example, a part of the log is in the database by now
            raise
        self._settle()

    def check(self) -> None:
        """Raise StoreFailed if a file was removed, replaced, cut, or written to by another process."""
        self._check_places()
        self._check_beside()

    def close(self) -> None:
        """Close the files; only after SQLite has closed them. May be called again."""
        self._wal_end.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check_places(self) -> int:
        """Check that the database and its log are in place, and that the database is unchanged: only the log is written to.

        Returns the bytes of the log.
        """
        database = self._find(self._database) or os.fstat(self._fd)
        log = self._find(self._wal)
        if (database.st_size, database.st_mtime_ns) != (self._size, self._changed):
            if database.st_size != self._size or os.pread(self._fd, _HEADER, 0) != self._header:
                raise self._written_to()
            self._changed = database.st_mtime_ns  # touch(1), for example
        return self._wal_end.size() if log is None else log.st_size

    def _check_beside(self) -> None:
        """Check that the log is whole, and that its index and the lock, which hold no message, are in place."""
        if self._wal_end.size() < self._wal_size:
            raise self._cut(self._wal)
        self._see_wal_end(self._wal_end.damaged())
        self._find(self._index)
        if (lock := self._find(self._lock)) is not None and lock.st_size < self._lock_size:
            raise self._cut(self._lock)

    def _settle(self) -> None:
        """Remember the files after the writer's own work, which never makes the database shorter."""
        database = os.fstat(self._fd)
        if database.st_size < self._size:
            raise self._written_to()
        self._size, self._changed = database.st_size, database.st_mtime_ns
        self._header = os.pread(self._fd, _HEADER, 0)
        if not self._header.startswith(_MAGIC):
            raise self._written_to()
        self._remember_wal(self._wal_end.size())

    def _remember_wal(self, size: int) -> None:
        self._wal_size = size
        self._see_wal_end(self._wal_end.remember())

    def _see_wal_end(self, damaged: Path | None) -> None:
        if damaged is not None:
            raise self._cut(damaged, "or overwritten ")

    def _find(self, path: Path) -> os.stat_result | None:
        """Look at the file of a name; None if a right was taken away, so that nobody can look: the open files still work then."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreFailed(f"{path} was removed or moved away while the gateway ran: {_DO}") from None
        except OSError:
            return None
        if _identity(found) != self._identity[path]:
            raise StoreFailed(f"{path} was replaced by another file while the gateway ran: {_DO}")
        return found

    def _written_to(self) -> StoreFailed:
        return StoreFailed(f"{self._database} was written to by another process while the gateway ran: {_DO}")

    def _cut(self, path: Path, how: str = "") -> StoreFailed:
        return StoreFailed(f"{path} was cut {how}by another process while the gateway ran: {_DO}")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
