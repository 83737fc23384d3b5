"""Named pipes in place of files on a disk that hangs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def full_fifo(path: Path) -> Iterator[int]:
    """A full named pipe: a write to it blocks, as on a disk that hangs, until somebody reads from the yielded descriptor."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(reader, b"\n" * 4096)
        yield reader
    finally:
        os.close(reader)


def read_lines(reader: int, into: bytearray) -> list[bytes]:
    """Empty the pipe into `into`, and return the whole JSON lines that have come until now."""
    try:
        while True:
            into += os.read(reader, 1 << 20)
    except BlockingIOError:
        return [line for line in bytes(into).splitlines(keepends=True) if line.endswith(b"}\n")]
