"""Looks for what a sink leaves behind in this process: descriptors, connections, and threads that write."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path

from tests.sinks.sending import PATIENCE
from tests.support.waiting import until


async def drain(reader: int, lines: int) -> list[bytes]:
    """Read until `lines` lines have come that are not empty."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(reader, ready.set)
    read = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while len(found := [line for line in read.splitlines(keepends=True) if line != b"\n"]) < lines or read[-1:] != b"\n":
                await ready.wait()
                ready.clear()
                try:
                    read += os.read(reader, 1 << 20)
                except BlockingIOError:
                    continue
    finally:
        loop.remove_reader(reader)
    return [bytes(line) for line in found]


def writers() -> int:
    """Count the threads of JSONL sinks."""
    return sum(thread.name == "jsonl" for thread in threading.enumerate())


async def written_to_the_end() -> None:
    """Wait until no thread of a JSONL sink is left, and the loop knows of it."""
    await until(lambda: not writers(), PATIENCE)
    for _ in range(5):
        await asyncio.sleep(0)


def descriptors() -> set[str]:
    """Return the open descriptors of this process: each number, and the file or socket behind it."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (the numbers are all that is asked for)
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")  # noqa: PTH115 (to a socket, not to a path)
    return found


def connections_to(*ports: int) -> int:
    """Count the connections of this process to ports of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    leading = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) in ports}
    return sum(descriptor.split()[1] in leading for descriptor in descriptors())
