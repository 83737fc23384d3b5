"""Translation of the errors of SQLite and of the file system into ours."""

from __future__ import annotations

import errno
import sqlite3

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed

NO_ROOM = "the disk is full: make room on the disk of the database"


def translated(error: sqlite3.DatabaseError) -> StoreError | sqlite3.DatabaseError:
    """Return our error for an error of SQLite; an error that only a bug can cause comes back unchanged.

    A full disk and a lock of another process pass by themselves: a plain StoreError. After any other I/O error SQLite goes on
    as if nothing had happened, while the kernel may have dropped pages: StoreFailed ends the process.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    name = getattr(error, "sqlite_errorname", "")
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreError(NO_ROOM)
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the -shm file can't grow
            return StoreError(f"{NO_ROOM} ({name})")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError("another process has locked the database; only the gateway may write to it")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(f"the database is corrupt ({name}: {error}); it was left as it is: restore a backup")
        case sqlite3.SQLITE_READONLY if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            return StoreFailed(
                "a process was killed while it wrote to the database, and its -journal is beside it: a start of the gateway"
                f" rolls it back ({name})"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreFailed(
                "the database, or a file beside it (-wal, -shm, -journal), can't be opened or written: they and their folder"
                f" have to belong to the gateway's user ({name}: {error})"
            )
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOLFS:
            return StoreFailed(f"the disk can't be trusted any more ({name}: {error})")
    return error


def os_error_text(error: OSError) -> str:
    """Name the file and the error, and what to do about a full disk."""
    return f"{error.filename}: {NO_ROOM if is_full(error) else error.strerror}"


def is_full(error: OSError) -> bool:
    """Return True if the disk, or the quota of the user, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
