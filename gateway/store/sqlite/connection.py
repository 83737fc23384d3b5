"""Opening the database file: lock, pragmas, first checks, and what SQLite's errors mean.

Exactly one connection of one process writes and checkpoints; every other one is opened `mode=ro`. SQLite before 3.51.3
can lose pages when a commit races a checkpoint of another connection (sqlite.org/wal.html, "WAL-reset bug").
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import aiosqlite

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed, StoreLocked
from gateway.store.sqlite import recovery
from gateway.store.sqlite.backup import sync_folder
from gateway.store.sqlite.migrations import Upgrade, check_owner, migrate

_T = TypeVar("_T")
_BUSY_MS = 2000
_PRAGMAS = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "wal_autocheckpoint": (0, 0),  # SQLite's own hook keeps the errors of a checkpoint to itself: see `Wal`
    "temp_store": ("MEMORY", 2),
    "foreign_keys": ("ON", 1),
    "journal_size_limit": (67108864, 67108864),  # a log that a long reader let grow gives its room back when it begins anew
}
"""What is set, and what SQLite has to answer: `PRAGMA journal_mode=WAL` can fail without an exception."""
_LONG = 4000
"""Frames of the write-ahead log, a page each, after which it is moved into the file."""


class Connection(aiosqlite.Connection):
    """aiosqlite, with the one call that it lacks: run a whole function in the connection's thread."""

    _given = 0
    _done = 0
    """Written by its thread alone."""

    @property
    def at_work(self) -> int | None:
        """How many functions its thread has done, while it has one to do; None: it rests."""
        return self._done if self._given > self._done else None

    async def run(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run it there, and turn SQLite's errors into ours. Cancelling the await does not stop the function."""

        def work(connection: sqlite3.Connection) -> _T:
            try:
                return function(connection)
            finally:
                self._done += 1

        self._given += 1
        try:
            result: _T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        except sqlite3.DatabaseError as error:
            raise translated(error) from error
        except OSError as error:  # of a look at the files by hand
            raise StoreFailed(f"the files of the database can't be read ({error.strerror})") from error
        return result


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


async def open_writer(path: Path, upgrade: Upgrade | None = None) -> Connection:
    """Open the one connection that writes, bring the schema up, and read a row of everything.

    Raises StoreCorrupt (exit 65), StoreLocked (73) or StoreFailed (74); a corrupt file is left as it is.
    """
    upgrade = upgrade or Upgrade()
    await asyncio.to_thread(put_right, path)
    if path.exists() and path.stat().st_size:
        # The first look is read-only: the last read-write connection to close would move a WAL into the file, and a file
        # that is refused has to stay as it is.
        looking = await open_reader(path)
        try:
            await looking.run(lambda connection: _look(connection, len(upgrade.scripts)))
        finally:
            await looking.close()
    return await _open(Connection(lambda: _connect_writer(path, upgrade), 64))


def put_right(path: Path) -> None:
    """Roll back what a killed process began, and check the header; for the holder of the lock. Raises as `open_writer`."""
    try:
        recovery.roll_back(path)
        recovery.check_header(path)
    except sqlite3.DatabaseError as error:
        raise translated(error) from error


async def open_reader(path: Path) -> Connection:
    return await _open(Connection(lambda: connect_reader(path), 64))


def connect_reader(path: Path, *, at_rest: bool = False) -> sqlite3.Connection:
    """A connection that can neither write nor move the write-ahead log.

    Args:
        at_rest: no process has the file open for writing; without a log beside it, none is made then, in no folder.
    """
    still = at_rest and not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"{path.absolute().as_uri()}?{'immutable=1' if still else 'mode=ro'}", uri=True)


async def _open(connection: Connection) -> Connection:
    try:
        await connection
        return connection
    except BaseException as error:
        # aiosqlite's thread reports to the loop that it ends; it must not outlive the loop of a command that fails here.
        await asyncio.to_thread(connection._thread.join)
        if isinstance(error, sqlite3.DatabaseError):
            raise translated(error) from error
        if isinstance(error, OSError):
            raise StoreFailed(_said(error)) from error
        raise


def _look(connection: sqlite3.Connection, known: int) -> None:
    check_owner(connection, known)
    _read_a_row_of_everything(connection)


def _connect_writer(path: Path, upgrade: Upgrade) -> sqlite3.Connection:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # -wal and -shm take their mode from it
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000, cached_statements=256)
    try:
        for name, (value, expected) in _PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {value}").fetchone()
            (answer,) = connection.execute(f"PRAGMA {name}").fetchone()
            if answer != expected:
                raise StoreFailed(
                    f"{path}: SQLite answered {name} = {answer} instead of {expected}; network file systems can't keep"
                    " the promise that an acknowledged message is on disk, put the database on a local disk"
                )
        # The journal of the switch to WAL is gone for good then: rolled back by it after a power cut, the header would deny
        # the log that holds everything acknowledged since (see `recovery.check_header`).
        sync_folder(path.absolute().parent)
        migrate(connection, path, upgrade)
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_a_row_of_everything(connection: sqlite3.Connection) -> None:
    entries = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type IN ('table', 'index')"
    ).fetchall()
    for kind, name, table, sql in entries:
        if kind == "table":
            connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchone()
        else:
            where = sql[at:] if sql is not None and (at := sql.upper().find(" WHERE ")) >= 0 else ""
            connection.execute(f'SELECT 1 FROM "{table}" INDEXED BY "{name}"{where} LIMIT 1').fetchone()


_LOCK_BYTES = 32
_NO_ROOM = "the disk is full: make room where the database lies"


class LockFile:
    """`<database>.lock`, held for the life of the process; its text tells who holds it, or that the last end was clean."""

    _CLEAN = b"clean"
    _UNCHECKED = b"clean, not checked"

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._fd = -1
        self.after_unclean_end = False
        """The last holder did not say goodbye."""
        self.unchecked = False
        """Nobody has read the whole file since an unclean end."""

    def take(self) -> None:
        """Raises StoreLocked with the holder's pid where another process has it, StoreFailed where it can't be made."""
        new = not self._path.exists()
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(_said(error) + ("" if _full(error) else "; the folder has to exist and be writable")) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, _LOCK_BYTES, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise StoreLocked(f"{self._path}: another gateway (pid {holder}) holds this database; stop it first") from None
        self._belong_to_the_owner()
        before = os.pread(self._fd, _LOCK_BYTES, 0).strip()
        # A file that was there and is empty was cut: its holder never leaves it so.
        self.after_unclean_end = not new and before not in (self._CLEAN, self._UNCHECKED)
        self.unchecked = not new and before != self._CLEAN
        try:
            self._write(b"%d" % os.getpid())
        except StoreFailed:
            self.release(clean=False)
            raise

    def release(self, *, clean: bool) -> None:
        """Let others have it; may be called again. Raises StoreFailed where a clean end can't be told."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if clean:
                self._write(self._UNCHECKED if self.unchecked else self._CLEAN, fd)
        finally:
            os.close(fd)

    def _belong_to_the_owner(self) -> None:
        """What root makes here for a moment, the gateway's user has to be able to open. SQLite does so for its own files."""
        if os.geteuid() == 0:
            with suppress(OSError):
                owner = self._database.stat()
                os.fchown(self._fd, owner.st_uid, owner.st_gid)

    def _write(self, text: bytes, fd: int | None = None) -> None:
        fd = self._fd if fd is None else fd
        try:
            os.pwrite(fd, text.ljust(_LOCK_BYTES), 0)  # in one write, so that no kill leaves it empty
            os.fsync(fd)
        except OSError as error:
            error.filename = self._path
            raise StoreFailed(_said(error)) from None


def translated(error: sqlite3.DatabaseError) -> StoreError | sqlite3.DatabaseError:
    """What an error of SQLite means to us; one that only a bug of ours can cause comes back as it is.

    A full disk and a database locked by somebody else pass by themselves: a plain StoreError. After any other I/O
    error SQLite goes on as if nothing had happened, while the kernel may have dropped pages: StoreFailed ends the process.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    name = getattr(error, "sqlite_errorname", "")
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreError(_NO_ROOM)
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the -shm file can't grow
            return StoreError(f"{_NO_ROOM} ({name})")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError("another process has locked the database; only the gateway may write to it")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(f"the database is corrupt ({name}: {error}); it was left as it is: restore a backup")
        case sqlite3.SQLITE_READONLY if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            return StoreFailed(
                "a process was killed while it wrote to the database, and its -journal lies beside it: a start of the gateway"
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


def _said(error: OSError) -> str:
    return f"{error.filename}: {_NO_ROOM if _full(error) else error.strerror}"


def _full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
