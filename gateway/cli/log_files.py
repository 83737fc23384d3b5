"""Finds the last lines of the audit log, backwards through its files, and follows it as it grows. Keeps one block in memory."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from gateway.cli.audit_line import Wanted, parsed
from gateway.host.clock import Clock
from gateway.observability.audit_files import complete, newest_first

_BLOCK = 256 * 1024
_EVERYTHING = Wanted()


async def followed(
    path: Path, last: int | None, clock: Clock, look_seconds: float = 0.2, wanted: Wanted = _EVERYTHING
) -> AsyncGenerator[bytes, None]:
    """Yield the last wanted lines and all lines after them, then new lines as they come.

    A rotated file is read to its end before the next one.

    Args:
        last: how many wanted lines to begin with; None begins with the first line of all.
        look_seconds: seconds between two looks at the file.
    """
    never = asyncio.Event()
    parts: list[bytes] = []
    """Pieces of a line without its end yet. They are joined once, so that a long line costs only its length."""
    with ExitStack() as files:
        found = look_back(path, last, wanted, files)
        file = found.pop() if found else None
        for older in found:
            for raw in complete(older):
                yield raw
        while True:
            if file is None and path.exists():
                file = files.enter_context(path.open("rb"))
            if file is not None and os.fstat(file.fileno()).st_size < file.tell():
                _say(f"{path} was truncated, and its lines are lost; going on from its beginning")
                file.seek(0)
                parts.clear()
            # Look before the last read of a file, so that lines written between the two are still read.
            rotated = file is not None and _rotated(file, path)
            data = file.read(_BLOCK) if file else b""
            first, *others = data.split(b"\n")
            parts.append(first)
            if others:
                yield b"".join(parts)
                for raw in others[:-1]:
                    yield raw
                parts = [others[-1]]
            if data:
                continue
            if rotated and file is not None:
                file.close()
                file = None
                parts.clear()
            else:
                await clock.wait(never, look_seconds)


def look_back(path: Path, count: int | None, wanted: Wanted, files: ExitStack) -> list[BinaryIO]:
    """Return the files that hold the last wanted lines, oldest first, each at the position of its first such line.

    Args:
        count: how many lines; None for all that are not too old.
        files: closes the files.
    """
    found: list[BinaryIO] = []
    for file in newest_first(path, files, say_skipped):
        try:
            start, number, is_old = (_start_of_gzip if isinstance(file, gzip.GzipFile) else _start)(file, count, wanted)
            file.seek(start)
        except (OSError, EOFError, zlib.error) as error:
            say_skipped(file.name, str(error))
            continue
        found.insert(0, file)
        if count is not None:
            count -= number
        if count == 0 or is_old:
            break
    return found


def say_skipped(file: str, why: str) -> None:
    """Tell a person on stderr that a file of the log is not read."""
    _say(f"{file} is skipped: {why}")


def _say(text: str) -> None:
    print(f"gateway: {text}", file=sys.stderr)


def _start(file: BinaryIO, count: int | None, wanted: Wanted) -> tuple[int, int, bool]:
    """Return where the last wanted lines begin, how many they are, and whether all lines before them are too old."""
    start, number = _end(file), 0
    for block in _blocks(file, start):
        lines = [(at, line) for at, raw in block if (line := parsed(raw)) is not None]
        for at, line in reversed(lines):
            if number == count:
                return start, number, False
            if wanted(line):
                start, number = at, number + 1
        # One line per block decides: if the clock was set back for a while, some lines look older than the ones before them.
        if lines and wanted.too_old(lines[0][1]):
            return start, number, True
    return start, number, False


def _start_of_gzip(file: BinaryIO, count: int | None, wanted: Wanted) -> tuple[int, int, bool]:
    """Do what `_start` does for a compressed file, which can only be read forwards."""
    at, is_old = 0, None
    found: list[int] | deque[int] = [] if count is None else deque(maxlen=count)
    for raw in file:
        if (line := parsed(raw)) is not None:
            is_old = wanted.too_old(line) if is_old is None else is_old
            if wanted(line) and not (count is None and found):  # if all are wanted, the first is enough
                found.append(at)
        at += len(raw)
    return found[0] if found else at, len(found), bool(is_old)


def _end(file: BinaryIO) -> int:
    """Return where the last complete line ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        if (at := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + at + 1
        end = begin
    return 0


def _blocks(file: BinaryIO, end: int) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the lines before the end of a line, one block at a time, the last block first; each line with its position."""
    rest: list[bytes] = []
    """Pieces of a line that begins further back, last piece first."""
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        data = file.read(end - begin)
        # In all blocks but the first of the file, the first line may begin in the block before.
        first = 0 if begin == 0 else data.find(b"\n") + 1
        if begin > 0 and first == 0:
            rest.append(data)
            yield []
        else:
            whole = b"".join((data[first:], *reversed(rest)))
            rest = [data[:first]]
            lines, at = [], begin + first
            for raw in whole.split(b"\n")[:-1]:
                lines.append((at, raw))
                at += len(raw) + 1
            yield lines
        end = begin


def _rotated(file: BinaryIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != os.stat(path).st_ino
    except FileNotFoundError:
        return False
