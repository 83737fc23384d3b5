"""`gateway tail`: the audit log, for people."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import Parameter

from gateway.cli.common import ConfigOption, SinceOption, UsageError, configuration, console, instant
from gateway.cli.lines import readable, style_of
from gateway.clock import Clock
from gateway.core.values import rfc3339
from gateway.signals import end_on_interrupt

Wanted = Callable[[dict[str, Any]], bool]
FAILED = frozenset(
    f"{kind}.{verdict}"
    for kind, verdicts in {
        "delivery": ("retrying", "dead"),
        "message": ("rejected", "quarantined", "unrouted"),
        "sink": ("opened",),
        "config": ("refused",),
    }.items()
    for verdict in verdicts
)
_ALL = 10**9
_TAIL_BYTES = 4 * 1024 * 1024


def tail(
    *,
    config: ConfigOption = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on as lines come.")] = False,
    lines: Annotated[
        int | None, Parameter(name=["--lines", "-n"], help="How many of the last lines; 20, with --since all.")
    ] = None,
    sr: Annotated[str | None, Parameter(help="Only of this service request, reference id or message.")] = None,
    sink: Annotated[str | None, Parameter(help="Only of this sink.")] = None,
    failed: Annotated[bool, Parameter(negative="", help="Only what went wrong.")] = False,
    since: SinceOption = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="The lines as they stand in the file.")] = False,
) -> int:
    """Print the last lines of the audit log, readable; with -f go on until Ctrl-C, across a rotation too."""
    from rich.text import Text

    path = configuration(config, secrets=False).audit_log
    out = console()

    count = lines if lines is not None else 20 if since is None else _ALL
    wanted = _filter(sr, sink, failed, instant(since))

    def show(raw: bytes) -> None:
        line = parsed(raw)
        if line is None or not wanted(line):
            return
        if json_:
            print(raw.decode(errors="replace"), flush=follow)
        else:
            at, event, rest = readable(line)
            out.print(Text.assemble((at, "dim"), "  ", (f"{event:<20}", style_of(line)), "  ", rest))

    if follow:
        end_on_interrupt()
        asyncio.run(_follow(path, count, show, wanted))
    elif path.exists():
        with path.open("rb") as file:
            for raw in last_lines(file, count, wanted):
                show(raw)
    else:
        raise UsageError(f"{path} is not there yet: the gateway writes it when it starts")
    return 0


def _filter(sr: str | None, sink: str | None, failed: bool, since: float | None) -> Callable[[dict[str, Any]], bool]:
    earliest = rfc3339(since) if since is not None else ""

    def wanted(line: dict[str, Any]) -> bool:
        return (
            (sr is None or sr in (line.get("sr_uuid"), line.get("reference_id"), line.get("message_id"), line.get("sender_id")))
            and (sink is None or line.get("sink") == sink)
            and (not failed or line.get("event") in FAILED)
            and str(line.get("time", "")) >= earliest
        )

    return wanted


async def _follow(path: Path, last: int, show: Callable[[bytes], None], wanted: Wanted) -> None:
    async for raw in followed(path, last, Clock(), wanted=wanted):
        show(raw)


def last_lines(file: BinaryIO, count: int, wanted: Wanted = lambda line: True) -> list[bytes]:
    """The last complete lines of a file that are wanted, of its last 4 MiB; it is left at the place after them."""
    start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(start)
    data = file.read(_TAIL_BYTES)
    end = data.rfind(b"\n") + 1
    file.seek(start + end)
    lines = [raw for raw in data[:end].split(b"\n")[:-1] if (line := parsed(raw)) is not None and wanted(line)]
    return lines[max(0, len(lines) - count) :] if count else []


async def followed(
    path: Path, last: int | None, clock: Clock, look_seconds: float = 0.2, wanted: Wanted = lambda line: True
) -> AsyncGenerator[bytes, None]:
    """The last complete lines (None: all there are), then those that come; a rotated file is read to its end first."""
    never = asyncio.Event()
    file: BinaryIO | None = None
    part = b""
    try:
        while True:
            if file is None and path.exists():
                file = path.open("rb")
                for raw in [] if last is None else last_lines(file, last, wanted):
                    yield raw
                last = None
            # Looked at before the last read of a file: what is written between the two is still read.
            rotated = file is not None and _rotated(file, path)
            data = file.read(_TAIL_BYTES) if file else b""
            *complete, part = (part + data).split(b"\n")
            for raw in complete:
                yield raw
            if data:
                continue
            if rotated and file is not None:
                file.close()
                file, part = None, b""
            else:
                await clock.wait(never, look_seconds)
    finally:
        if file is not None:
            file.close()


def parsed(raw: bytes) -> dict[str, Any] | None:
    """A line as an object; None where it is none (a torn one after a power cut)."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _rotated(file: BinaryIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != os.stat(path).st_ino
    except FileNotFoundError:
        return False
