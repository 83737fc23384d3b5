"""Where log lines leave the process: at once into a file, else through a bounded queue and a thread.

The caller never waits and never sees an error, whatever becomes of the stream: a reader that has gone (EPIPE), a full disk
(ENOSPC), a closed descriptor (EBADF), a pipe that is full and that nobody reads. A line that can't be written is dropped and
counted; the next line that can be written comes behind one that says how many were lost.
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
"""Lines that wait for a stream that does not take them; more are dropped."""
MOST_BYTES = 1024 * 1024
"""Bytes that wait at most; a single line of any size is taken while nothing else waits."""
_END_SECONDS = 1.0
"""The end of the process waits so long for the last lines."""


class LineWriter:
    """Writes lines to the descriptor of a text stream, past the stream's own buffer: what sticks there would fail again later.

    `note` makes the line that tells of lost ones from their number.
    """

    def __init__(self, stream: TextIO | None, note: Callable[[int], str] = "{} log lines were lost".format) -> None:
        """None is a stream that was closed before the start (`2>&-`): every line is dropped, and counted."""
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
        """How many of the dropped lines a written line has reported."""
        self._torn = False
        """The last line was written in part."""
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start."""
        return self._dropped

    def put(self, line: str) -> None:
        """Have a line written soon. Returns at once and never raises."""
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
        """Count a line that could not even be made."""
        with self._changed:
            self._dropped += 1

    def flush(self, seconds: float = _END_SECONDS) -> bool:
        """Wait until everything is written or dropped, at most for so many seconds; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None or not (self._lines or self._writing), seconds)

    def close(self) -> None:
        """Write what waits, for a second at most, and take nothing more. May be called again."""
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
        """Take note of a line that was written behind a note of `lost` ones, or dropped."""
        if written:
            self._told += lost
        else:
            self._dropped += 1

    def _write(self, line: bytes, lost: int) -> bool:
        """Write a line, behind a note of those that were lost; whether all of it was taken."""
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
        except BlockingIOError:  # somebody who shares the stream made it non-blocking
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll()
            return 0


def _descriptor(stream: TextIO | None) -> int:
    """The descriptor of a stream; -1 if it has none, or is closed."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
        os.fstat(descriptor)
    except (OSError, ValueError):
        return -1
    return descriptor
