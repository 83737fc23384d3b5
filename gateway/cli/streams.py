"""The three standard streams, made safe to use: closed ones are nobody's fault, and what is told on stderr decides nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


class _Lossy(io.FileIO):
    """A descriptor whose errors are dropped: a reader that has gone, a full disk, a pipe that nobody empties."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or len(data)  # None: the pipe is full, and somebody made it non-blocking
        except OSError:
            return len(data)


class _Deaf(io.FileIO):
    """A descriptor that drops what nobody reads any more, and has all other errors."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


class _Void(io.RawIOBase):
    """Takes bytes and keeps none."""

    def write(self, data: Any, /) -> int:
        return len(data)

    def writable(self) -> bool:
        return True


class _Nowhere(io.TextIOBase):
    """A stream that was closed before the start. It has no descriptor, which `fileno` says."""

    encoding = "utf-8"
    errors = "backslashreplace"
    buffer = _Void()

    def write(self, text: str, /) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


class Lines(io.TextIOBase):
    """Hands each line that is written to a function, without its end."""

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

    A number below 3 that is closed is taken by /dev/null: else the database would get it, and what is told on stderr would go
    into the database. What can't be written to stderr is dropped. Text that an encoding lacks is escaped.

    Args:
        to_the_end: drop what is written to stdout after its reader has gone; else that raises BrokenPipeError.
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
    """The exit code `status`, once all of stdout is written: 74 if the device refuses it, unless something else failed before.

    A reader that went away (`gateway tail | head`) has seen enough, which is no failure.
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
    """The same stream, without its errors."""
    try:
        raw = _Lossy(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):
        return stream  # a test's own stream, which has no descriptor
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


def _deaf(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream, without the errors of a pipe that nobody reads."""
    raw = _Deaf(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, line_buffering=stream.line_buffering)


def _abandon(stream: TextIO) -> None:
    """Let go of what a stream still holds: at the end of the process it would fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
