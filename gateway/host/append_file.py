"""A text file that only grows, line by line, and survives its rotation. Used by the audit log and the JSONL sink."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

_NEVER = threading.Event()


class AppendFile:
    """Appends whole lines, each batch by one `write` with `O_APPEND`.

    Before each write the path is looked at: where logrotate (`create`) has put another file there, or none, that one is
    opened. Blocks on the disk, so call it from a thread. Not for use by two threads at once.
    """

    _PATIENCE = 10
    """Looks, 5 ms apart, for the file that logrotate makes when it has renamed the old one. Made by us in between, it would be in
    logrotate's way, which renames it by the hour: the second one of an hour over the first."""

    def __init__(self, path: Path, mode: int = 0o640) -> None:
        self.path = path
        self._mode = mode
        self._fd = -1
        self._new = False
        """Its name may not be on the disk yet."""
        self.written = 0
        self._torn = False
        """The file ends within a line (a crash, say): the next write starts with a line break, so that only that line is lost."""

    def append(self, lines: bytes, *, follow: bool = True) -> None:
        """Write complete lines. Raises OSError; `written` says how many of their bytes are in the file by then.

        Args:
            follow: False goes on in the open file, even where another one has taken its place: for `sync` after several.
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
        """Wait until what was written is on the disk, and the file's name too. Raises OSError; the lines are to be written anew
        then, since the system may have dropped them (fsync(2))."""
        _sync(self._fd)
        if self._new:
            # A folder that this user may write to and not read (0730) can't be opened: nothing there can be waited for.
            with suppress(PermissionError):
                folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _sync(folder)
                finally:
                    os.close(folder)
            self._new = False

    def is_there(self) -> bool:
        """Whether the open file still has a name: what was written to one that was removed meanwhile is lost. Raises OSError."""
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_back(self, lines: bytes) -> None:
        """Cut off the beginning of a line that the disk had no room for, so that every line in the file is a whole one."""
        whole = lines.rfind(b"\n", 0, self.written) + 1
        torn = lines[whole : self.written]
        if not torn or not stat.S_ISREG(os.fstat(self._fd).st_mode):
            return
        end = os.fstat(self._fd).st_size
        if os.pread(self._fd, len(torn), end - len(torn)) == torn:  # else somebody has written after us
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
        # Never for reading: we would be our own reader, and a line that nobody takes would count as written. Without a reader
        # this fails (ENXIO, fifo(7)) in place of waiting for one.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        return descriptor


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a pipe, say, or a folder on some network disk: nothing there can be waited for
            raise
