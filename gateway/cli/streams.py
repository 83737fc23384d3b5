"""Makes the three standard streams safe to use, whether closed, full or broken. No failure of stderr stops a command."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


class _Lossy(io.FileIO):
    """A descriptor whose errors are dropped: the reader has gone, the disk or the pipe is full."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or len(data)  # None: the pipe is full and non-blocking
        except OSError:
            return len(data)


class _Deaf(io.FileIO):
    """A descriptor that drops bytes after its reader has gone, and raises all other errors."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


class _Void(io.RawIOBase):
    """A stream that takes bytes and keeps none."""

    def write(self, data: Any, /) -> int:
        return len(data)

    def writable(self) -> bool:
        return True


class _Nowhere(io.TextIOBase):
    """A stream that was closed before the start. It has no descriptor: `fileno` raises."""

    encoding = "utf-8"
    errors = "backslashreplace"
    buffer = _Void()

    def write(self, text: str, /) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


class Lines(io.TextIOBase):
    """A stream that hands each written line to a function, without its line break."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put
        self._begun = ""

    def write(self, text: str, /) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def writable(self) -> bool:
        return True


def secure(*, to_the_end: bool = False) -> None:
    """Make the standard streams usable whatever the caller did to them. Call it before anything opens a file.

    A closed descriptor below 3 is opened on /dev/null: otherwise the database would get its number, and text for stderr would
    go into the database. Text that can't be written to stderr is dropped. Characters that an encoding lacks are escaped.

    Args:
        to_the_end: drop output after the reader of stdout has gone; otherwise writing it raises BrokenPipeError.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = _Nowhere()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        if to_the_end:
            sys.stdout = _deaf(sys.stdout)
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = _Nowhere()
    else:
        sys.stderr = _lossy(sys.stderr)


def flushed(status: int) -> int:
    """Write the rest of stdout, and return the exit code: `status`, or 74 if only this last write fails.

    A reader that went away (`gateway tail | head`) has seen enough, which is not a failure.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon(sys.stdout)
    except OSError as error:
        print(f"gateway: error: standard output: {error.strerror or error}", file=sys.stderr)
        _abandon(sys.stdout)
        return status or 74
    return status


def _lossy(stream: TextIO) -> TextIO:
    """Return the same stream, without its errors."""
    try:
        raw = _Lossy(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):
        return stream  # a stream of a test, which has no descriptor
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


def _deaf(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return the same stream, without the error of a pipe whose reader has gone."""
    raw = _Deaf(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, line_buffering=stream.line_buffering)


def _abandon(stream: TextIO) -> None:
    """Drop the text that a stream still holds: it would fail once more at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
