"""Opening the connections to a database file: pragmas and first checks.

Exactly one connection of one process writes and checkpoints; every other one is opened `mode=ro`. SQLite before 3.51.3
can lose pages when a commit races a checkpoint of another connection (sqlite.org/wal.html, "WAL-reset bug").
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from gateway.core.errors import StoreFailed
from gateway.store.sqlite import recovery
from gateway.store.sqlite.backup import sync_folder
from gateway.store.sqlite.migrations import Upgrade, check_owner, migrate
from gateway.store.sqlite.sqlite_errors import os_error_text, translated

_T = TypeVar("_T")
_BUSY_MS = 2000
_PRAGMAS = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "wal_autocheckpoint": (0, 0),  # SQLite's own hook hides the errors of a checkpoint: see `group_commit`
    "temp_store": ("MEMORY", 2),
    "foreign_keys": ("ON", 1),
    "journal_size_limit": (67108864, 67108864),  # a log that a long reader let grow gives its room back when it begins again
}
"""The value of each pragma, and the answer that SQLite has to give: `PRAGMA journal_mode=WAL` can fail without an exception."""

# sqlite3 looks for a way to adapt each value that is no int, float or str (PEP 246), fails slowly, and binds the value as it is.
# An adapter that returns the value ends the search at once: 0.1 instead of 0.3 microseconds for None, and 0.2 instead of 0.4
# for bytes (`bytes.__bytes__` takes less than to call `bytes`).
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(type(None), dict[None, None]().get)  # returns None for None, without a frame of Python


class Connection(aiosqlite.Connection):
    """A connection of aiosqlite that can run a whole function in its thread, which aiosqlite itself cannot."""

    _given = 0
    _done = 0
    """Written only by its thread."""

    @property
    def at_work(self) -> int | None:
        """The number of functions that its thread has done, while it has one to do; None while it rests."""
        return self._done if self._given > self._done else None

    async def run(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a function in the thread, and translate its errors. Cancelling the await does not stop the function."""

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
        except OSError as error:  # from reading the files by hand
            raise StoreFailed(f"the files of the database can't be read ({error.strerror})") from error
        return result


async def open_writer(path: Path, upgrade: Upgrade | None = None) -> Connection:
    """Open the one connection that writes, bring the schema up, and read a row of everything.

    Raises StoreCorrupt (exit 65), StoreLocked (73) or StoreFailed (74); a corrupt file is left as it is.
    """
    upgrade = upgrade or Upgrade()
    await asyncio.to_thread(roll_back_and_check, path)
    if path.exists() and path.stat().st_size:
        # The first look is read-only: the last read-write connection to close would move the log into the file, and a file that
        # is refused has to stay as it is.
        looking = await open_reader(path)
        try:
            await looking.run(lambda connection: _look(connection, len(upgrade.scripts)))
        finally:
            await looking.close()
    return await _open(Connection(lambda: _connect_writer(path, upgrade), 64))


def roll_back_and_check(path: Path) -> None:
    """Roll back what a killed process began, and check the header; only under the lock. Raises as `open_writer`."""
    try:
        recovery.roll_back(path)
        recovery.check_header(path)
    except sqlite3.DatabaseError as error:
        raise translated(error) from error


async def open_reader(path: Path) -> Connection:
    """Open a connection that can neither write nor move the write-ahead log. Raises as `open_writer`."""
    return await _open(Connection(lambda: connect_reader(path), 64))


def connect_reader(path: Path, *, at_rest: bool = False) -> sqlite3.Connection:
    """Connect so that nothing can write or move the write-ahead log.

    Args:
        at_rest: no process writes to the file. Without a log beside it, SQLite then makes no file beside it either.
    """
    still = at_rest and not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"{path.absolute().as_uri()}?{'immutable=1' if still else 'mode=ro'}", uri=True)


async def _open(connection: Connection) -> Connection:
    try:
        await connection
        return connection
    except BaseException as error:
        # The thread of aiosqlite reports its end to the loop; it must not outlive the loop of a command that fails here.
        await asyncio.to_thread(connection._thread.join)
        if isinstance(error, sqlite3.DatabaseError):
            raise translated(error) from error
        if isinstance(error, OSError):
            raise StoreFailed(os_error_text(error)) from error
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
        # Now the journal of the switch to WAL is gone from the disk, too. A power cut could bring it back otherwise: rolled back
        # by it, the header would deny the log that holds everything acknowledged since (see `recovery.check_header`).
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
