"""`gateway tail`: the audit log, for people."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import Parameter

from gateway.cli.common import ConfigOption, UsageError, configuration
from gateway.cli.lines import readable, style_of
from gateway.clock import Clock

_TAIL_BYTES = 4 * 1024 * 1024


def tail(
    *,
    config: ConfigOption = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on as lines come.")] = False,
    lines: Annotated[int, Parameter(name=["--lines", "-n"], help="How many of the last lines.")] = 20,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="The lines as they stand in the file.")] = False,
) -> int:
    """Print the last lines of the audit log, readable; with -f go on until Ctrl-C, across a rotation too."""
    from rich.console import Console
    from rich.text import Text

    path = configuration(config, secrets=False).audit_log
    console = Console(soft_wrap=True, highlight=False)

    def show(raw: bytes) -> None:
        line = parsed(raw)
        if json_:
            print(raw.decode(errors="replace"), flush=follow)
        elif line is not None:
            at, event, rest = readable(line)
            console.print(Text.assemble((at, "dim"), "  ", (f"{event:<20}", style_of(line)), "  ", rest))

    if not path.exists() and not follow:
        raise UsageError(f"{path} is not there yet: the gateway writes it when it starts")
    last, end = last_lines(path, lines)
    for raw in last:
        show(raw)
    if follow:
        asyncio.run(_follow(path, end, show))
    return 0


async def _follow(path: Path, start: int, show: Any) -> None:
    async for raw in followed(path, start, Clock()):
        show(raw)


def last_lines(path: Path, count: int) -> tuple[list[bytes], int]:
    """The last complete lines of a file, and the offset after them."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except FileNotFoundError:
        return [], 0
    end = data.rfind(b"\n") + 1
    found = data[:end].splitlines()
    return found[max(0, len(found) - count) :] if count else [], size - len(data) + end


async def followed(path: Path, start: int, clock: Clock, look_seconds: float = 0.2) -> AsyncGenerator[bytes, None]:
    """Complete lines as they come, from an offset on; the rotated file is read to its end before the new one is opened."""
    file: BinaryIO | None = None
    never = asyncio.Event()
    part = b""
    try:
        while True:
            if file is None and path.exists():
                file = path.open("rb")
                file.seek(start)
            data = file.read(1 << 20) if file else b""
            *complete, part = (part + data).split(b"\n")
            for raw in complete:
                yield raw
            if data:
                continue
            if file is not None and _rotated(file, path):
                file.close()
                file, start, part = None, 0, b""
                continue
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
