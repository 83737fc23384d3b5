"""The cost of a start while a million deliveries wait, and the memory of a gateway after a million events."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmarks import past
from tests.benchmarks.acks import paused_gateway
from tests.benchmarks.bench import CONNECTIONS, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import resident_mb
from tests.benchmarks.measured_gateway import SINKS, MeasuredGateway, http_sinks
from tests.benchmarks.prepared_requests import webhook

_SETTLING = 2000
"""Deliveries after the first one until memory is measured: the lanes are then at work."""
_AT_ONCE = 50_000
"""Events that are signed, and then sent, in one go."""


def start(bench: Bench) -> Iterator[Figure]:
    """Seconds from the start of the process to the first delivery, and the most memory it has had soon after."""
    folder, waiting = bench.folder(), bench.size.waiting
    past.build(folder / "gateway.db", messages=-(-waiting // len(SINKS)))
    with bench.receiving() as port:
        server = MeasuredGateway(folder, http_sinks(port))
        begun = time.monotonic()
        with server:
            tally = bench.await_received(port, min(_SETTLING, waiting))
            memory = resident_mb(server.pid, peak=True)
    name = f"start with {waiting:,} waiting"
    yield Figure(name=f"{name}: first delivery", unit="s", samples=[tally.first - begun])
    yield Figure(name=f"{name}: memory", unit="MB", samples=[memory])


def memory(bench: Bench) -> Iterator[Figure]:
    """Memory after very many events, and how much it grew over the last four fifths of them."""
    events = bench.size.remembered
    if not events:
        return
    sizes, sent = [], 0
    with paused_gateway(bench) as server:
        cpu, begun = server.cpu, time.monotonic()
        while sent < events:
            count = min(_AT_ONCE, events // 5)
            bench.send(server.port, count, webhook)
            sent += count
            sizes.append(server.memory_mb)
        cpu_us = (server.cpu - cpu) / sent * 1e6
        per_second = sent / (time.monotonic() - begun)
    first = sizes[len(sizes) // 5 - 1]
    note = f"{per_second:,.0f} events/s with the time to sign them, {CONNECTIONS} connections"
    yield Figure(name=f"memory after {events:,} events", unit="MB", samples=[sizes[-1]], cpu_us=[cpu_us], note=note)
    yield Figure(name=f"growth of memory, {events // 5:,} to {events:,} events", unit="MB", samples=[sizes[-1] - first])
