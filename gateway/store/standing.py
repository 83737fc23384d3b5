"""Whether the files of an open database still stand where they stood, so that the next start finds what is acknowledged now.

SQLite goes on writing into files that were removed, renamed or replaced under it (sqlite.org/howtocorrupt.html, section 4), and
never says so. A look is one stat(2) a file, some microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.errors import StoreFailed

_HEADER = 100
"""Bytes (sqlite.org/fileformat2.html, section 1.3): with the number of pages and a counter that rises as they become more."""
_DO = (
    "nothing is acknowledged any more. Stop the gateway before one of these files is moved, removed, written to or restored;"
    " put back what was there, or a backup, and start again"
)


class Standing:
    """What the writer knows of its files, which nobody else writes to; for its thread alone, but for `close`."""

    def __init__(self, database: Path) -> None:
        """Take the files as they are now: SQLite has them open, and nothing is being written. Raises StoreFailed."""
        self._database = database
        self._wal = database.with_name(f"{database.name}-wal")
        names = (database, self._wal, *(database.with_name(f"{database.name}{suffix}") for suffix in ("-shm", ".lock")))
        try:
            # Kept open for as long as SQLite has it open: closing it would drop SQLite's locks.
            self._fd = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
            self._identity = {path: _identity(os.stat(path)) for path in names}
        except OSError as error:
            raise StoreFailed(f"{error.filename}: {error.strerror}") from None
        self.settle()

    def settle(self) -> None:
        """Remember how the files look after the writer's own work. Raises StoreFailed."""
        database, wal = self._found(self._database), self._found(self._wal)
        if database is not None and wal is not None:
            self._size, self._changed, self._wal_size = database.st_size, database.st_mtime_ns, wal.st_size
        self._header = os.pread(self._fd, _HEADER, 0)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Check before a transaction that it goes into the right files, and after it that it went there. Raises StoreFailed."""
        self.check(everything=False)
        try:
            yield
        finally:
            if (wal := self._found(self._wal)) is not None:
                self._wal_size = wal.st_size
        self.check(everything=False)

    def check(self, *, everything: bool = True) -> None:
        """Raises StoreFailed if a file was removed, replaced, or written to by somebody else.

        Args:
            everything: the index of the log and the lock file, too, which hold no message.
        """
        database, wal = self._found(self._database), self._found(self._wal)
        if database is not None and (database.st_size, database.st_mtime_ns) != (self._size, self._changed):
            if database.st_size != self._size or os.pread(self._fd, _HEADER, 0) != self._header:
                raise StoreFailed(f"{self._database} was written to by somebody else while the gateway ran: {_DO}")
            self._changed = database.st_mtime_ns  # touch(1), say
        if wal is not None and wal.st_size < self._wal_size:
            raise StoreFailed(f"{self._wal} was cut by somebody else while the gateway ran: {_DO}")
        if everything:
            for path in self._identity:
                self._found(path)

    def close(self) -> None:
        """Only after SQLite has closed the file; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _found(self, path: Path) -> os.stat_result | None:
        """The file under a name; None if that can't be told: a right was taken away, and the files stay open."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreFailed(f"{path} was removed or moved away while the gateway ran: {_DO}") from None
        except OSError:
            return None
        if _identity(found) != self._identity[path]:
            raise StoreFailed(f"{path} was replaced by another file while the gateway ran: {_DO}")
        return found


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
