"""The lock file of a database: it keeps other processes out, and tells how the last one ended."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from gateway.core.errors import StoreFailed, StoreLocked
from gateway.store.sqlite.sqlite_errors import is_full, os_error_text

_LOCK_BYTES = 32


class LockFile:
    """`<database>.lock`, held for the life of the process. Its text names the holder, or says that the last end was clean."""

    _CLEAN = b"clean"
    _UNCHECKED = b"clean, not checked"

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._fd = -1
        self.after_unclean_end = False
        """The last holder did not release it as clean."""
        self.unchecked = False
        """Nobody has read the whole file since an unclean end."""

    def take(self) -> None:
        """Take the lock. Raises StoreLocked with the pid of another holder, StoreFailed if the file cannot be made."""
        new = not self._path.exists()
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(
                os_error_text(error) + ("" if is_full(error) else "; the folder has to exist and be writable")
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, _LOCK_BYTES, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise StoreLocked(f"{self._path}: another gateway (pid {holder}) holds this database; stop it first") from None
        self._belong_to_the_owner()
        before = os.pread(self._fd, _LOCK_BYTES, 0).strip()
        # An existing file that is empty was cut: no holder leaves it empty.
        self.after_unclean_end = not new and before not in (self._CLEAN, self._UNCHECKED)
        self.unchecked = not new and before != self._CLEAN
        try:
            self._write(b"%d" % os.getpid())
        except StoreFailed:
            self.release(clean=False)
            raise

    def release(self, *, clean: bool) -> None:
        """Release the lock; may be called again. Raises StoreFailed if the clean end cannot be written."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if clean:
                self._write(self._UNCHECKED if self.unchecked else self._CLEAN, fd)
        finally:
            os.close(fd)

    def _belong_to_the_owner(self) -> None:
        """Give the file to the owner of the database, so that the gateway's user can open it after root made it.

        SQLite does the same for its own files.
        """
        if os.geteuid() == 0:
            with suppress(OSError):
                owner = self._database.stat()
                os.fchown(self._fd, owner.st_uid, owner.st_gid)

    def _write(self, text: bytes, fd: int | None = None) -> None:
        fd = self._fd if fd is None else fd
        try:
            os.pwrite(fd, text.ljust(_LOCK_BYTES), 0)  # one write, so that no kill leaves the file empty
            os.fsync(fd)
        except OSError as error:
            error.filename = self._path
            raise StoreFailed(os_error_text(error)) from None
