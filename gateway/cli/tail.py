"""`gateway tail`: the audit log, for people; with the files it was rotated into, and never more of it in memory than a block."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

from cyclopts import Parameter
from msgspec import Struct

from gateway.cli.audit_line import readable, style_of
from gateway.cli.completion import sink_names
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, instant
from gateway.cli.output import console
from gateway.config import as_the_service, find, load_audit
from gateway.core.audit_events import AUDIT_EVENTS
from gateway.core.errors import StoreError
from gateway.core.values import rfc3339
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import end_on_interrupt

FAILED = frozenset(event.name for event in AUDIT_EVENTS.values() if event.failed)
_BLOCK = 256 * 1024
_UNREAD = (".bz2", ".xz", ".zst", ".lz4")


class Wanted(Struct, frozen=True):
    """Which lines are shown: those that fit all that is given."""

    sr: str | None = None
    sink: str | None = None
    failed: bool = False
    earliest: str = ""
    """The instant of --since, as the lines write it."""

    def __call__(self, line: dict[str, Any]) -> bool:
        ids = (line.get("sr_uuid"), line.get("reference_id"), line.get("message_id"), line.get("sender_id"))
        return (
            (self.sr is None or self.sr in ids)
            and (self.sink is None or line.get("sink") == self.sink)
            and (not self.failed or str(line.get("event")) in FAILED)
            and not self.too_old(line)
        )

    def too_old(self, line: dict[str, Any]) -> bool:
        return str(line.get("time", "")) < self.earliest


_EVERYTHING = Wanted()


def tail(
    *,
    config: ConfigOption = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on as lines come.")] = False,
    lines: Annotated[
        int | None, Parameter(name=["--lines", "-n"], help="How many of the last lines; 20, with --since all.")
    ] = None,
    sr: Annotated[str | None, Parameter(help="Only of this service request, reference id or message.")] = None,
    sink: Annotated[str | None, Parameter(completer=sink_names, help="Only of this sink.")] = None,
    failed: Annotated[bool, Parameter(negative="", help="Only what went wrong.")] = False,
    since: Annotated[str | None, Parameter(help='Lines since: "2h", "7d", or an RFC 3339 instant.')] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="The lines as they stand in the file.")] = False,
) -> int:
    """Print the last lines of the audit log, readable; with -f go on until Ctrl-C, across a rotation too.

    Where the file does not hold as many lines, or does not reach back so far, those that it was rotated into are read.
    """
    from rich.text import Text

    if lines is not None and lines < 0:
        raise UsageError("-n is how many lines: 0 or more")
    environment = Environment.of_process()
    configured = find(config, environment)
    path = load_audit(configured, as_the_service(configured, environment))
    out = console()
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is a folder, a pipe or a device, and no audit log: see [audit] path")
    earliest = instant(since)
    count = min(lines, sys.maxsize) if lines is not None else 20 if since is None else None
    wanted = Wanted(sr, sink, failed, rfc3339(earliest) if earliest is not None else "")

    def show(raw: bytes) -> bool:
        line = parsed(raw)
        if line is None or not wanted(line):
            return False
        if json_:
            print(raw.decode(errors="replace"), flush=follow)
        else:
            at, event, rest = readable(line)
            out.print(Text.assemble((at, "dim"), "  ", (f"{event:<20}", style_of(line)), "  ", rest))
        return True

    if follow:
        end_on_interrupt()
        asyncio.run(_follow(path, count, wanted, show))
        return 0
    with ExitStack() as files:
        found = _look_back(path, count, wanted, files)
        if not found:
            raise UsageError(f"{path} is not there yet: the gateway writes it when it starts")
        # What is written meanwhile comes behind the lines that were asked for.
        left = count
        for raw in (raw for file in found for raw in _complete(file)):
            if left == 0:
                break
            if show(raw) and left is not None:
                left -= 1
    return 0


async def _follow(path: Path, count: int | None, wanted: Wanted, show: Callable[[bytes], bool]) -> None:
    async for raw in followed(path, count, Clock(), wanted=wanted):
        show(raw)


async def followed(
    path: Path, last: int | None, clock: Clock, look_seconds: float = 0.2, wanted: Wanted = _EVERYTHING
) -> AsyncGenerator[bytes, None]:
    """The complete lines from the last ones that are wanted on (None: from the first one), then those that come.

    A rotated file is read to its end before the next one.
    """
    never = asyncio.Event()
    parts: list[bytes] = []
    """Pieces of a line whose end has not come: put together once, so that a long line costs its length."""
    with ExitStack() as files:
        found = _look_back(path, last, wanted, files)
        file = found.pop() if found else None
        for older in found:
            for raw in _complete(older):
                yield raw
        while True:
            if file is None and path.exists():
                file = files.enter_context(path.open("rb"))
            if file is not None and os.fstat(file.fileno()).st_size < file.tell():
                _say(f"{path} was truncated: what it held is gone; going on from its beginning")
                file.seek(0)
                parts.clear()
            # Looked at before the last read of a file: what is written between the two is still read.
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


def parsed(raw: bytes) -> dict[str, Any] | None:
    """A line as an object; None where it is none (a torn one after a power cut)."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _look_back(path: Path, count: int | None, wanted: Wanted, files: ExitStack) -> list[BinaryIO]:
    """The files in which the last lines that are wanted stand, the oldest first, each at the place to read on from.

    Args:
        count: so many lines; None: all that are not too old.
        files: closes them.
    """
    found: list[BinaryIO] = []
    for file in _files(path, files):
        try:
            start, number, is_old = (_start_of_gzip if isinstance(file, gzip.GzipFile) else _start)(file, count, wanted)
            file.seek(start)
        except (OSError, EOFError, zlib.error) as error:
            _skip(file.name, str(error))
            continue
        found.insert(0, file)
        if count is not None:
            count -= number
        if count == 0 or is_old:
            break
    return found


def _files(path: Path, files: ExitStack) -> Iterator[BinaryIO]:
    """The log and what it was rotated into, opened, the newest first."""
    if path.exists():
        yield (current := files.enter_context(path.open("rb")))
        seen = os.fstat(current.fileno())
    else:
        seen = None
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    for other in sorted(rotated, key=_written, reverse=True):
        try:
            if seen is not None and os.path.samestat(other.stat(), seen):
                continue  # rotated since it was opened above
            if other.suffix == ".gz":
                if not other.with_suffix("").exists():  # else it is being compressed right now
                    yield cast(BinaryIO, files.enter_context(gzip.GzipFile(other)))
            elif other.suffix in _UNREAD:
                _skip(other, f"of those that are compressed, only .gz is read; unpack it beside the log: {other.stem}")
            else:
                yield files.enter_context(other.open("rb"))
        except OSError as error:
            _skip(other, error.strerror or str(error))


def _written(file: Path) -> float:
    """When it was last written to; its own name may be another one by now."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _skip(file: Path | str, why: str) -> None:
    _say(f"{file} is left out: {why}")


def _say(text: str) -> None:
    print(f"gateway: {text}", file=sys.stderr)


def _start(file: BinaryIO, count: int | None, wanted: Wanted) -> tuple[int, int, bool]:
    """Where the last lines that are wanted begin, how many they are, and whether all before them is too old."""
    start, number = _end(file), 0
    for block in _blocks(file, start):
        lines = [(at, line) for at, raw in block if (line := parsed(raw)) is not None]
        for at, line in reversed(lines):
            if number == count:
                return start, number, False
            if wanted(line):
                start, number = at, number + 1
        # By one line a block: after a clock was set back for a while, some look older than those before them.
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
            if wanted(line) and not (count is None and found):  # of all, the first is enough
                found.append(at)
        at += len(raw)
    return found[0] if found else at, len(found), bool(is_old)


def _end(file: BinaryIO) -> int:
    """Where the last complete line ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        if (at := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + at + 1
        end = begin
    return 0


def _blocks(file: BinaryIO, end: int) -> Iterator[list[tuple[int, bytes]]]:
    """The lines before a place where one ends, a block at a time from the last one on, each line with where it begins."""
    rest: list[bytes] = []
    """Pieces of a line that begins further back, the last one first."""
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        data = file.read(end - begin)
        # The block before the first one of a file ends where its first line begins.
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


def _complete(file: BinaryIO) -> Iterator[bytes]:
    """The complete lines from here on, without their ends."""
    for raw in file:
        if raw.endswith(b"\n"):
            yield raw[:-1]


def _rotated(file: BinaryIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != os.stat(path).st_ino
    except FileNotFoundError:
        return False
