"""The write-ahead log of a database that SQLite has open: when it is long, and moving it into the file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from gateway.core.errors import StoreFailed

_LONG = 4000
"""Frames of the write-ahead log, a page each, after which it is moved into the file."""


class Wal:
    """The write-ahead log, and whether it is long: told from its bytes, since each answer of SQLite would be a checkpoint.

    Every frame repeats two salts of the log's header, which change when the log begins anew over its old bytes
    (sqlite.org/fileformat2.html, section 4). SQLite holds no lock on this file, so it may be opened by hand.
    """

    def __init__(self, database: Path) -> None:
        """Take the files of a database that SQLite has open. Raises StoreFailed."""
        path = database.with_name(database.name + "-wal")
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise StoreFailed(f"{path}: {error.strerror}") from None
        self._salts = b""
        self._at = 0
        """Where the salts of the frame stand that makes the log long."""

    def is_long(self) -> bool:
        """Whether the log is to be moved; ask after a commit. One short read, since it stands in the way of every batch."""
        fd = self._file.fileno()
        try:
            if not self._salts:
                header = os.pread(fd, 24, 0)
                self._at = 32 + (_LONG - 1) * (24 + int.from_bytes(header[8:12], "big")) + 8
                self._salts = header[16:]
            return bool(self._salts) and os.pread(fd, 8, self._at) == self._salts
        except OSError:
            return True  # SQLite will meet the same trouble, and say what it is

    def move(self, connection: sqlite3.Connection) -> None:
        """Write into the file what no reader needs any more, in the writer's thread; waits for nobody."""
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._salts = b""  # the next commit may begin the log anew

    def close(self) -> None:
        self._file.close()
