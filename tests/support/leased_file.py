"""A regular file whose reader waits until the test lets it go on, by a lease (fcntl(2), "Leases")."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Lease:
    """Holds up every process that opens the file; `asked` becomes true when one tries."""

    def __init__(self, path: Path) -> None:
        self.asked = False
        self._fd = os.open(path, os.O_RDWR)

    def begin(self) -> None:
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def end(self) -> None:
        """Let the reader go on; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def broken(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@contextmanager
def leased(path: Path) -> Iterator[Lease]:
    lease = Lease(path)
    before = signal.signal(signal.SIGIO, lease.broken)
    lease.begin()
    try:
        yield lease
    finally:
        lease.end()
        signal.signal(signal.SIGIO, before)
