"""Reads back the end of an audit log: which lines a crash left out, and which no seal covers. Never writes."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.core.audit_events import NEW_MESSAGE
from gateway.core.seals import Seal, is_seal, read_seal
from gateway.core.values import rfc3339

_UNSEALED_BYTES = 16 * 1024 * 1024
"""Bytes in which the last seal is looked for. Between two seals there are about 10,000 lines, which take a quarter of that."""


class Line(Struct, frozen=True):
    """The part of a line that tells which step of which message or delivery it is about."""

    time: str
    event: str
    message_id: str | None = None
    sink: str | None = None
    attempt: int | None = None


class LastLine(Struct, frozen=True):
    """The end of a log: the last message that it reports as new, or else the time of the oldest line that was read."""

    message_id: str | None
    time: str | None


def recent_lines(path: Path, tail: int = 4 * 1024 * 1024) -> list[Line]:
    """Return the last lines of the log, and of the newest file that it was rotated into.

    Args:
        tail: how many bytes of each file are read at most.
    """
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    newest = sorted(rotated, key=lambda other: other.stat().st_mtime)[-1:]
    found = []
    for raw in (raw for file in (*newest, path) for raw in _tail_lines(file, tail)):
        with suppress(ValueError, RecursionError):
            found.append(msgspec.json.decode(raw, type=Line))
    return found


def last_line(path: Path, tail: int = 4 * 1024 * 1024) -> LastLine:
    """Find the last message that the log tells of as new, in the log or in the last three files that it was rotated into.

    Args:
        tail: how many bytes of each file are read at most.
    """
    oldest: str | None = None
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    for candidate in (path, *sorted(rotated, key=lambda other: other.stat().st_mtime, reverse=True)[:3]):
        for raw in reversed(_tail_lines(candidate, tail)):
            try:
                line = msgspec.json.decode(raw, type=Line)
            except (ValueError, RecursionError):
                continue
            oldest = line.time
            if line.event in NEW_MESSAGE:
                return LastLine(line.message_id, line.time)
    if oldest is None and rotated:  # all of them compressed, say: the newest one ends when it was last written
        oldest = rfc3339(max(other.stat().st_mtime for other in rotated))
    return LastLine(None, oldest)


def since_last_seal(path: Path, tail: int = _UNSEALED_BYTES) -> tuple[Seal | None, list[bytes]]:
    """Find the last seal of the log, in the log or in the newest file that it was rotated into, and every line after it.

    A line without its end, which a crash can leave, counts as a line: the next write ends it. A seal that was changed counts as
    none. Without a seal, the lines that were read count as those after it.

    Args:
        tail: how many bytes of each file are read at most; a compressed file is read whole.
    """
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    newest = max(rotated, key=lambda other: other.stat().st_mtime, default=None)
    lines: list[bytes] = []
    for file in (path, newest) if newest is not None else (path,):
        if file.exists() and not file.is_file():
            continue  # a pipe has nothing to read back
        read = _unpacked_tail(file, tail) if file.suffix == ".gz" else _whole_tail(file, tail)
        for at in range(len(read) - 1, -1, -1):
            if is_seal(read[at]) and (seal := read_seal(read[at])) is not None:
                return seal, read[at + 1 :] + lines
        lines = read + lines
    return None, lines


def _whole_tail(path: Path, tail: int) -> list[bytes]:
    """Read the last lines of a file; the first one only if it is whole."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            begin = file.seek(max(0, size - tail))
            data = file.read(size - begin)
    except FileNotFoundError:
        return []
    return _whole(data, cut=begin > 0)


def _whole(data: bytes, *, cut: bool) -> list[bytes]:
    """Return the lines of the end of a file. If the file was cut, the first one is not whole, and is left out."""
    lines = data.split(b"\n")[1 if cut else 0 :]
    return lines if lines and lines[-1] else lines[:-1]


def _unpacked_tail(path: Path, tail: int) -> list[bytes]:
    data, cut = b"", False
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(tail):
                cut = cut or len(data) > tail
                data = data[-tail:] + block
    except (OSError, EOFError, zlib.error):
        return []
    return _whole(data, cut=cut)


def _tail_lines(path: Path, tail: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail))
            return file.read(tail).splitlines()
    except FileNotFoundError:
        return []
