"""The upgrade of a database from the schema before the ledger: how long its start takes, and acks while messages are read in."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import resident_mb
from tests.benchmarks.prepared_requests import webhook
from tests.benchmarks.requests.build import build
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE
from tests.support.webhooks import SECRET

Figures = list[tuple[str, float, float]]
"""Each with its name and unit, its value, and its bound; infinity: none."""
SCHEMA: Final = 3
RATE: Final = 500.0
READY_SECONDS: Final = 1.0
"""The bound of a start with an upgrade, the backup before it left aside: that copies the whole database."""
_CONNECTIONS = 32
_AT_ONCE = 5000
"""Webhooks that are signed and sent in one go."""
_LONGEST = 1200.0
_TOML: Final = """
[store]
retention = "3650d"

[sinks.archive]
type = "jsonl"
path = "archive.out"

[sinks.desk]
type = "jsonl"
path = "desk.out"

[sinks.erp]
type = "http"
url = "http://127.0.0.1:9/erp"
on_stale = "annotate"

[[routes]]
name = "everything"
sinks = ["archive", "erp"]
"""


def measured(messages: int, kept: Path) -> Figures:
    """Upgrade a database with so many messages, and read them into the ledger beside RATE acks a second.

    Args:
        kept: the folder of the database before the upgrade, for the next run, too.
    """
    built = build(kept, messages // 10, SCHEMA)
    with tempfile.TemporaryDirectory(prefix="upgrade-", dir=kept) as folder:
        shutil.copy(built.database, folder)
        server = Running(Path(folder), _TOML, {"LEGITMARK": SECRET})
        server.program = [sys.executable, "-m", "gateway"]
        server.from_scratch = True
        begun = time.time()
        with server:
            ready = time.time()
            told = dict(_told(server))
            backup = told["store.upgrading"] - told["store.backing_up"]
            script = told["store.upgraded"] - told["store.upgrading"]
            latencies = asyncio.run(_acks(server))
            filled = dict(_told(server))["ledger.filled"]
            memory = resident_mb(_pid(server), peak=True)
    name = f"upgrade of {messages:,} messages"
    latencies.sort()
    return [
        (f"{name}: the backup before it, s", backup, math.inf),
        (f"{name}: the schema script, s", script, READY_SECONDS),
        (f"{name}: start to ready without the backup, s", ready - begun - backup, READY_SECONDS),
        (f"{name}: until the ledger has them, beside {RATE:.0f} acks/s, s", filled - ready, math.inf),
        (f"{name}: messages taken into the ledger, a second", messages / (filled - ready), math.inf),
        (f"{name}: ack p50 meanwhile, ms", latencies[len(latencies) // 2] * 1000, math.inf),
        (f"{name}: ack p99 meanwhile, ms", latencies[len(latencies) * 99 // 100] * 1000, math.inf),
        (f"{name}: memory meanwhile, MB", memory, math.inf),
    ]


def _told(server: Running) -> Iterator[tuple[str, float]]:
    """Yield the events of the log, each with its instant; of several with one name, the last counts."""
    for line in server.stderr().splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            yield said["event"], datetime.fromisoformat(said["time"]).timestamp()


async def _acks(server: Running) -> list[float]:
    """Send webhooks at RATE until the ledger has all messages. Returns the seconds from when each was due to its answer."""
    address = server.addresses["webhooks"]
    assert isinstance(address, tuple)
    found: list[float] = []
    until = time.monotonic() + _LONGEST
    while b'"ledger.filled"' not in server.stderr_file.read_bytes():
        if time.monotonic() > until:
            raise TimeoutError(f"the ledger does not have all messages after {_LONGEST:.0f} s")
        requests = [webhook("scattered") for _ in range(_AT_ONCE)]
        begun = time.monotonic() + 0.05
        parts = [(begun + number / RATE, request) for number, request in enumerate(requests)]
        done = await asyncio.gather(*(_sent(address, parts[one::_CONNECTIONS]) for one in range(_CONNECTIONS)))
        found += [seconds for one in done for seconds in one]
    return found


async def _sent(address: tuple[str, int], requests: Sequence[tuple[float, bytes]]) -> list[float]:
    """Send requests on one connection, each when it is due, or when the answer before it has come."""
    reader, writer = await asyncio.open_connection(*address)
    found = []
    for due, request in requests:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        found.append(time.monotonic() - due)
    writer.close()
    await writer.wait_closed()
    return found


def _pid(server: Running) -> int:
    assert server.process is not None
    return server.process.pid
