"""A writer of log lines that never blocks its caller: directly to a file, or through a bounded queue and a thread.

The caller never waits and never sees an error, whatever happens to the stream: a reader that is gone (EPIPE), a full disk
(ENOSPC), a closed descriptor (EBADF), or a full pipe that no process reads. A line that cannot be written is dropped and
counted. The next line that can be written follows a note that tells how many were lost.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

MOST_LINES = 1000
"""The most lines that wait for a slow stream; more are dropped."""
MOST_BYTES = 1024 * 1024
"""The most bytes that wait. A single line of any size is accepted if the queue is empty."""
_END_SECONDS = 1.0
"""Seconds that the end of the process waits for the last lines."""


class LineWriter:
    """Writes lines to the file descriptor of a text stream. It bypasses the stream's buffer, where a failed line would stay.

    `note` makes the line that reports lost lines from their number.
    """

    def __init__(self, stream: TextIO | None, note: Callable[[int], str] = "{} log lines were lost".format) -> None:
        """Prepare for a stream. None is a stream that was closed before the start (`2>&-`): every line is dropped and counted."""
        self.stream = stream
        self.note = note
        self._fd = _descriptor(stream)
        self._is_file = self._fd >= 0 and stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        """Bytes in `_lines`."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._writing = False
        self._closing = False
        self._dropped = 0
        self._told = 0
        """The number of dropped lines that were already reported in a note."""
        self._torn = False
        """The last line was written only in part."""
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """The number of lines lost since the start."""
        return self._dropped

    def put(self, line: str) -> None:
        """Write a line, or queue it. Returns at once and never raises."""
        try:
            data = line.encode("utf-8", "backslashreplace") + b"\n"
            with self._changed:
                full = len(self._lines) >= MOST_LINES or (self._lines and self._waiting + len(data) > MOST_BYTES)
                if self._fd < 0 or self._closing or full:
                    self._dropped += 1
                    return
                if self._is_file and not self._lines and not self._writing:
                    lost = self._dropped - self._told
                    self._count(self._write(data, lost), lost)
                    return
                self._lines.append(data)
                self._waiting += len(data)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
        except Exception:
            self.lost()

    def lost(self) -> None:
        """Count a line that could not even be formatted."""
        with self._changed:
            self._dropped += 1

    def flush(self, seconds: float = _END_SECONDS) -> bool:
        """Wait until every line is written or dropped, at most for `seconds`. Return True if that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None or not (self._lines or self._writing), seconds)

    def close(self) -> None:
        """Write the queued lines, for at most a second, and accept no more. May be called again."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                line = self._lines.popleft()
                self._waiting -= len(line)
                self._writing = True
                lost = self._dropped - self._told
            written = self._write(line, lost)
            with self._changed:
                self._writing = False
                self._count(written, lost)
                self._changed.notify_all()

    def _count(self, written: bool, lost: int) -> None:
        """Count a line as dropped, or the `lost` lines as reported if it was written after a note of them."""
        if written:
            self._told += lost
        else:
            self._dropped += 1

    def _write(self, line: bytes, lost: int) -> bool:
        """Write a line, after a note of lost lines. Return True if all of it was written."""
        try:
            note = f"{self.note(lost)}\n".encode("utf-8", "backslashreplace") if lost else b""
            rest = memoryview((b"\n" if self._torn else b"") + note + line)
            while rest:
                rest = rest[self._write_some(rest) :]
                self._torn = len(rest) > 0
        except Exception:
            return False
        return True

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # another process that shares the stream made it non-blocking
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll()
            return 0


def _descriptor(stream: TextIO | None) -> int:
    """Return the descriptor of a stream; -1 if it has none or is closed."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
        os.fstat(descriptor)
    except (OSError, ValueError):
        return -1
    return descriptor
