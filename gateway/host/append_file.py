"""A text file that only grows, line by line, and survives log rotation. The audit log and the JSONL sink use it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

_NEVER = threading.Event()


class AppendFile:
    """Appends whole lines, each batch with one `write` and `O_APPEND`.

    Before each write it looks at the path. If logrotate (`create`) has replaced or removed the file, it opens the file that the
    path names now. It blocks on the disk, so call it from a thread, and never from two threads at once.
    """

    _PATIENCE = 10
    """How often to look, every 5 ms, for the new file after logrotate has renamed the old one. If we created it first, logrotate
    would rename ours as well: it names files by the hour, so the second file of an hour would overwrite the first."""

    def __init__(self, path: Path, mode: int = 0o640) -> None:
        self.path = path
        self._mode = mode
        self._fd = -1
        self._new = False
        """The name of the file may not be on the disk yet."""
        self.written = 0
        """The number of bytes that the last `append` wrote."""
        self._torn = False
        """The file ends in the middle of a line, after a crash for example. The next write then starts with a line break, so
        that only that line is lost."""

    def append(self, lines: bytes, *, follow: bool = True) -> None:
        """Write complete lines. Raises OSError; `written` then tells how many of their bytes are in the file.

        Args:
            follow: False keeps the open file even if another one has taken its place. One `sync` can then cover several calls.
        """
        self.written = 0
        if follow:
            self._follow()
        if self._torn:
            os.write(self._fd, b"\n")
            self._torn = False
        try:
            while self.written < len(lines):
                self.written += os.write(self._fd, lines[self.written :])
                self._torn = lines[self.written - 1 : self.written] != b"\n"
        except OSError:
            self._take_back(lines)
            raise

    def sync(self) -> None:
        """Wait until the written lines, and the name of the file, are on the disk.

        Raises OSError. The caller then has to write the lines again, because the kernel may have dropped them (fsync(2)).
        """
        sync_descriptor(self._fd)
        if self._new:
            # A folder that this user may write but not read (0730) cannot be opened, so it cannot be synced either.
            with suppress(PermissionError):
                folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    sync_descriptor(folder)
                finally:
                    os.close(folder)
            self._new = False

    @property
    def torn(self) -> bool:
        """The file ends in the middle of a line. The next write begins with a line break."""
        return self._torn

    def duplicate(self) -> int:
        """Return another descriptor of the open file, which stays open when this one follows a rotation. Raises OSError.

        Another thread can sync it (`sync_descriptor`) while lines are written here. Close it afterwards.
        """
        return os.dup(self._fd)

    def is_there(self) -> bool:
        """Return True if the open file still has a name. Lines written to a removed file are lost. Raises OSError."""
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_back(self, lines: bytes) -> None:
        """Cut off a line that was only partly written because the disk was full, so that the file holds whole lines only."""
        whole = lines.rfind(b"\n", 0, self.written) + 1
        torn = lines[whole : self.written]
        if not torn or not stat.S_ISREG(os.fstat(self._fd).st_mode):
            return
        end = os.fstat(self._fd).st_size
        if os.pread(self._fd, len(torn), end - len(torn)) == torn:  # otherwise another process has written since
            os.ftruncate(self._fd, end - len(torn))
            self.written = whole
            self._torn = False

    def _follow(self) -> None:
        if self._fd >= 0:
            open_file = os.fstat(self._fd)
            for _ in range(self._PATIENCE):
                try:
                    here = os.stat(self.path)
                except FileNotFoundError:
                    _NEVER.wait(0.005)
                    continue
                if (here.st_ino, here.st_dev) == (open_file.st_ino, open_file.st_dev):
                    return
                break
            self.close()
        self._new = True
        self._fd = self._opened()
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"

    def _opened(self) -> int:
        try:
            piped = stat.S_ISFIFO(os.stat(self.path).st_mode)
        except FileNotFoundError:
            piped = False
        if not piped:
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode)
        # Not open for reading: we would be our own reader, and a line that no other process reads would count as written.
        # O_NONBLOCK makes this fail if there is no reader (ENXIO, fifo(7)) instead of waiting for one.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        return descriptor


def sync_descriptor(descriptor: int) -> None:
    """Wait until what was written to a file is on the disk. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a pipe, or a folder on some network disks, cannot be synced
            raise
