"""Reads back the end of an audit log, to find out which lines a crash left out. Never writes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.core.audit_events import NEW_MESSAGE
from gateway.core.values import rfc3339


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


def _tail_lines(path: Path, tail: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail))
            return file.read(tail).splitlines()
    except FileNotFoundError:
        return []
