"""Shows where the gateway's processor time goes, by folder of the house, by library and by thread: `make profile`.

    python -m tests.benchmarks.cpu_by_part [--events 10000] [--sinks 3]

It sends events to a gateway that samples itself, and waits until the last delivery is settled. Without sinks, the gateway only
acknowledges: its sinks are paused. Sampling costs some percent, so look at shares and not at rates. `sampled_gateway` says how it
samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.bench import SIZES, Bench, bench
from tests.benchmarks.deliveries import run
from tests.benchmarks.measured_gateway import SINKS, MeasuredGateway, http_sinks, jsonl_sinks
from tests.benchmarks.prepared_requests import webhook
from tests.support.waiting import until

_LEAST = 0.01
"""Parts below this share are shown as one."""

Row = tuple[str, str, str, float]
"""A thread, a module of the house, a library, and the seconds that were used there."""


def main() -> int:
    parser = argparse.ArgumentParser(description="show where the gateway's processor time goes")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--sinks", type=int, default=len(SINKS), choices=range(len(SINKS) + 1))
    given = parser.parse_args()
    if lacking := machine.missing():
        print(f"skipped: {lacking}")
        return 0
    machine.move_to_load_core()
    with tempfile.TemporaryDirectory(prefix="gateway-profile-") as folder, bench(Path(folder), SIZES["tiny"]) as made:
        rows, cpu_us = sample(made, given.events, given.sinks)
    doing = f"to {given.sinks} signed HTTP sinks" if given.sinks else "acknowledged, with the sinks paused"
    print(f"{given.events:,} events {doing}: {cpu_us:.0f} us of processor time for each\n")
    folders = [(thread, module.split("/")[0], library, seconds) for thread, module, library, seconds in rows]
    print(report("innermost folder of the house (-: the loop and the libraries that it calls)", by(folders, 1), cpu_us))
    print(report("innermost module of the house", by(rows, 1), cpu_us))
    print(report("library whose function ran", by(rows, 2), cpu_us))
    print(report("thread", by(rows, 0), cpu_us))
    return 0


def sample(made: Bench, events: int, sinks: int) -> tuple[list[Row], float]:
    """Return the samples of a gateway at work, and the microseconds of processor time that each event cost it."""
    samples = made.folder() / "samples.json"
    with made.receiving() as port:
        toml = http_sinks(port, sinks) if sinks else jsonl_sinks()
        server = MeasuredGateway(made.folder(), toml, module="tests.benchmarks.sampled_gateway")
        server.variables["BENCH_SAMPLES"] = str(samples)
        with server:
            if not sinks:
                server.pause()
            os.kill(server.pid, signal.SIGUSR1)
            before = server.cpu
            if sinks:
                run(made, server, port, sinks, events)
            else:
                made.send(server.port, events, webhook)
            cpu = server.cpu - before
            os.kill(server.pid, signal.SIGUSR2)
            asyncio.run(until(samples.exists))
    return [tuple(row) for row in json.loads(samples.read_bytes())], cpu / events * 1e6


def by(rows: Iterable[Row], column: int) -> Counter[str]:
    """Add up the seconds of the rows that have the same word in a column."""
    found: Counter[str] = Counter()
    for row in rows:
        found[str(row[column])] += row[3]  # type: ignore[assignment]
    return found


def report(title: str, seconds: Counter[str], cpu_us: float) -> str:
    """Write a table of shares, the largest first, and what they are of one event."""
    total = sum(seconds.values())
    large = [(name, spent / total) for name, spent in seconds.most_common() if spent / total >= _LEAST]
    rest = 1.0 - sum(share for _, share in large)
    lines = [f"{share:7.1%} {share * cpu_us:7.1f} us  {name}" for name, share in [*large, ("the rest", rest)]]
    return "\n".join([title, *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
