"""The write-ahead log of a database that SQLite has open: when it is long, and moving it into the file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from gateway.core.errors import StoreFailed

_LONG = 4000
"""Frames of the log, a page each, after which it is moved into the file."""


class Wal:
    """The write-ahead log. Its length is read from its bytes, because every question to SQLite would be a checkpoint.

    Every frame repeats two salts of the log's header, which change when the log begins again over its old bytes
    (sqlite.org/fileformat2.html, section 4). SQLite holds no lock on this file, so it may be opened by hand.
    """

    def __init__(self, database: Path) -> None:
        """Open the log of a database that SQLite has open. Raises StoreFailed."""
        path = database.with_name(database.name + "-wal")
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise StoreFailed(f"{path}: {error.strerror}") from None
        self._salts = b""
        self._at = 0
        """The offset of the salts of the frame that makes the log long."""

    def is_long(self) -> bool:
        """Return True if the log should be moved. One short read after every commit, because every batch waits for it."""
        fd = self._file.fileno()
        try:
            if not self._salts:
                header = os.pread(fd, 24, 0)
                self._at = 32 + (_LONG - 1) * (24 + int.from_bytes(header[8:12], "big")) + 8
                self._salts = header[16:]
            return bool(self._salts) and os.pread(fd, 8, self._at) == self._salts
        except OSError:
            return True  # SQLite will meet the same error, and name it

    def move(self, connection: sqlite3.Connection) -> None:
        """Move the frames that no reader needs into the file, in the writer's thread. It does not wait for readers."""
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._salts = b""  # the next commit may begin the log again

    def close(self) -> None:
        """Close the log; only after SQLite has closed it."""
        self._file.close()
