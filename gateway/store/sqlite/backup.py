"""Copying the whole database into a file beside the traffic. The copy has its name when it is whole, or does not exist.

The copy occupies the thread of its connection for minutes: `VACUUM INTO` reads one snapshot, and leaves deleted rows out. The
backup API of SQLite would begin again with every commit, and never end under load.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from gateway.core.database_files import BESIDE
from gateway.core.documents import Backup
from gateway.core.errors import BackupExists, BackupFailed
from gateway.core.values import rfc3339
from gateway.host.new_file import give_name
from gateway.store.base import RESERVE


def back_up(
    connection: sqlite3.Connection, *, database: Path, file: Path, now: float, min_free: int, replace: bool = False
) -> Backup:
    """Copy the database into a new file, or in a folder into a file named by the instant.

    Args:
        now: Unix seconds, UTC.
        min_free: bytes that have to stay free on the disk of the database.
        replace: replace an older copy of this name at the instant at which the new one is whole.
    Raises BackupExists, or BackupFailed with what to do; nothing is left behind then. Errors of the database itself, and an
    interrupt, stay errors of SQLite.
    """
    try:
        if file.is_dir():
            file /= f"gateway-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.db"
        if not replace and os.path.lexists(file):
            raise _exists(file)
        _check_name(database, file)
        return _write(connection, database, file, min_free, replace=replace)
    except OSError as error:
        raise _failed(error, database, file) from error


def unfinished(database: Path, folder: Path) -> Path:
    """Return the name of an unfinished copy of this database: a hidden name that no other program gives to a file.

    It depends on the host and on the file of the database, so that several gateways may back up into one folder. It does not
    contain the name of the copy, which may be as long as names may be, and may end with `.partial` itself.
    """
    of = f"{os.uname().nodename} {database.absolute()} {database.stat().st_ino}"
    return folder / f".legitmark-gateway-{hashlib.sha256(os.fsencode(of)).hexdigest()[:32]}.partial"


def facts(connection: sqlite3.Connection) -> tuple[int, int, str | None]:
    """Read the schema, the number of messages, and when the newest was received. Reads a whole index."""
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (messages,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    newest = connection.execute("SELECT received_ms FROM messages ORDER BY seq DESC LIMIT 1").fetchone()
    return schema, messages, rfc3339(newest[0] / 1000) if newest else None


def _write(connection: sqlite3.Connection, database: Path, file: Path, min_free: int, *, replace: bool) -> Backup:
    partial = unfinished(database, file.parent)
    _remove(partial)  # left by a backup that was killed: a database never has two backups at a time
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(partial, flags, 0o600)  # SQLite writes into an empty file, which from the beginning nobody else may read
    try:
        _check_room(connection, database, file, min_free)
        try:
            connection.execute("VACUUM INTO ?", (str(partial),))
        except sqlite3.OperationalError as error:
            raise _meant(error, file) from error
        os.fsync(made)
        with closing(sqlite3.connect(f"{partial.absolute().as_uri()}?immutable=1", uri=True)) as copy:
            schema, messages, newest = facts(copy)
        if not os.path.samestat(os.fstat(made), partial.stat()):
            raise BackupFailed(f"{partial} was removed by another process")
        if replace:
            partial.replace(file)
        else:
            try:
                give_name(partial, file)
            except FileExistsError:
                raise _exists(file) from None
        sync_folder(file.parent)
        return Backup(str(file), os.fstat(made).st_size, schema, messages, newest)
    finally:
        os.close(made)
        _remove(partial)


def _remove(partial: Path) -> None:
    """Remove an unfinished copy and its journal, but no link and no folder of that name."""
    for left in (partial, partial.with_name(f"{partial.name}-journal")):
        with suppress(OSError):
            if stat.S_ISREG(left.lstat().st_mode):
                left.unlink()


def _check_name(database: Path, file: Path) -> None:
    """Refuse a name that SQLite takes for a part of the database: beside a wrong `-journal`, nobody can open the database."""
    own = {f"{database.name}{suffix}" for suffix in BESIDE}
    if file.name in own and file.parent.samefile(database.parent):
        raise BackupFailed(f"{file}: that name belongs to the database {database} itself: name another file")


def _check_room(connection: sqlite3.Connection, database: Path, file: Path, min_free: int) -> None:
    pages, unused, page_size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    needed, free = (pages - unused) * page_size, shutil.disk_usage(file.parent).free
    same_disk = file.parent.stat().st_dev == database.parent.stat().st_dev
    kept = min_free + RESERVE if same_disk else 0
    if needed + kept > free:
        also = f", and {_mib(kept)} have to stay free there (store.min_free and a bit)" if kept else ""
        raise BackupFailed(
            f"{file.parent} has {_mib(free)} free, the backup needs {_mib(needed)}{also}:"
            " make room, or name a file on another disk"
        )


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, too. Raises OSError."""
    with suppress(PermissionError):  # a folder that may be written but not read (0730) cannot be synced
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # nor can a folder on some network disks
                raise
        finally:
            os.close(folder)


def _exists(file: Path) -> BackupExists:
    return BackupExists(f"{file} is there already, and a backup overwrites nothing: name another file, or remove it first")


def _meant(error: sqlite3.OperationalError, file: Path) -> Exception:
    """Return our error if the error of SQLite is about the copy; errors of the database come back unchanged."""
    match error.sqlite_errorcode & 0xFF:
        case _ if error.sqlite_errorcode in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ):
            return error
        case sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return BackupFailed(f"{file}: the copy could not be written ({error.sqlite_errorname}: {error})")
    return error


def _failed(error: OSError, database: Path, file: Path) -> BackupFailed:
    said = f"{file.parent}: {error.strerror}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return BackupFailed(f"{file.parent}: the disk is full: make room, or name a file on another disk")
        case errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOENT | errno.ENOTDIR:
            return BackupFailed(
                f"{said}: the gateway can't write there. It can in its state directory, e.g. {database.parent / file.name};"
                " under systemd it sees and writes other folders only if its unit names them (ReadWritePaths=)"
            )
    return BackupFailed(f"{file}: {error.strerror}")


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MiB"
