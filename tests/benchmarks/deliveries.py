"""How fast events reach signed HTTP sinks: from end to end, out of a backlog, under load, and at a given rate.

The receiving end runs on the core of the load and answers at once: see `receiver`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import mean, quantiles

from tests.benchmarks import past, receiver
from tests.benchmarks.bench import CONNECTIONS, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.measured_gateway import SINKS, MeasuredGateway, http_sinks
from tests.benchmarks.prepared_requests import webhook
from tests.benchmarks.slices import Slice, in_turns, shares

_PACE = 1000
"""Events a second, where the rate is given."""


@contextmanager
def delivering_gateway(bench: Bench, sinks: int, *, keep: bool = False) -> Iterator[tuple[MeasuredGateway, int]]:
    """Run a gateway with signed HTTP sinks and their receiver. Yields the gateway and the port of the receiver."""
    with bench.receiving(keep=keep) as port, MeasuredGateway(bench.folder(), http_sinks(port, sinks)) as server:
        yield server, port


def end_to_end(bench: Bench) -> Iterator[Figure]:
    """Events a second from the first request to the last settled delivery, with three sinks and with one."""
    for sinks, events in ((3, bench.size.events // 2), (1, bench.size.events)):
        with delivering_gateway(bench, sinks) as (server, port):
            turns = in_turns(bench.bare, {"gateway": partial(run, bench, server, port, sinks, events)}, bench.size.runs)
        yield shares(f"end to end / bare, {sinks} signed HTTP sink{'s' if sinks > 1 else ''}", turns["gateway"])


def run(bench: Bench, server: MeasuredGateway, port: int, sinks: int, events: int) -> Slice:
    """Send a number of events, and wait until the last delivery is settled."""
    received, settled, cpu = receiver.tally_of(port).received, server.delivered, server.cpu
    begun = bench.send(server.port, events, webhook).begun
    bench.await_received(port, received + sinks * events)
    server.await_delivered(settled + sinks * events)
    return Slice(events, time.monotonic() - begun, server.cpu - cpu)


def backlog(bench: Bench) -> Iterator[Figure]:
    """Deliveries a second out of a backlog for three sinks; and while acks saturate the gateway, as a share of that."""
    messages = bench.size.drained // len(SINKS)
    deliveries = messages * len(SINKS)
    with bench.receiving() as port:
        before = bench.bare()
        drained = _drain(bench, port, messages)
        after = bench.bare()
    share = drained.per_second / mean((before.per_second, after.per_second))
    yield Figure(
        name=f"drain of {bench.size.drained:,} deliveries / bare",
        samples=[share],
        per_second=[drained.per_second],
        cpu_us=[drained.cpu_us],
        note=f"{deliveries:,} deliveries",
    )
    rates = [one.per_second for one in _saturated(bench)]
    shares_of_drain = [rate / drained.per_second for rate in rates]
    yield Figure(name="deliveries under saturating ingest / drain", samples=shares_of_drain, per_second=rates)


def _drain(bench: Bench, port: int, messages: int) -> Slice:
    folder, deliveries = bench.folder(), messages * len(SINKS)
    past.build(folder / "gateway.db", messages=messages, paused=True)
    received = receiver.tally_of(port).received
    with MeasuredGateway(folder, http_sinks(port)) as server:
        cpu, begun = server.cpu, time.monotonic()
        server.resume()
        bench.await_received(port, received + deliveries)
        server.await_delivered(deliveries)
        return Slice(deliveries, time.monotonic() - begun, server.cpu - cpu)


def _saturated(bench: Bench) -> Iterator[Slice]:
    """Measure the deliveries that reach the sinks in slices of load, each on a gateway that has no backlog yet."""
    for _ in range(bench.size.runs):
        with delivering_gateway(bench, len(SINKS)) as (server, port):
            load = bench.acks(server)
            yield Slice(receiver.tally_of(port).received, load.seconds, load.cpu_seconds)


def paced(bench: Bench) -> Iterator[Figure]:
    """How long a delivery takes at 1,000 events a second, from the instant the request is due until the sink has it."""
    count = _PACE * bench.size.paced_seconds
    with delivering_gateway(bench, len(SINKS), keep=True) as (server, port):
        bench.send(server.port, CONNECTIONS, webhook)  # what the first requests cost is no part of it
        bench.await_received(port, len(SINKS) * CONNECTIONS)
        cpu = server.cpu
        sent_at = bench.send(server.port, count, webhook, rate=_PACE).sent_at
        bench.await_received(port, len(SINKS) * (count + CONNECTIONS))
        cpu_us = (server.cpu - cpu) / count * 1e6
        arrivals = receiver.ask(port, "arrivals")
    taken = [(arrived - sent_at[event]) * 1000 for event, arrived in arrivals if event in sent_at]
    if len(taken) != len(SINKS) * count:
        raise RuntimeError(f"{len(taken):,} of {len(SINKS) * count:,} deliveries were recognized")
    percentiles = quantiles(taken, n=100, method="inclusive")
    for name, milliseconds in (("p50", percentiles[49]), ("p99", percentiles[98])):
        yield Figure(
            name=f"sent to delivered at 1,000 events/s, 3 sinks, {name}", unit="ms", samples=[milliseconds], cpu_us=[cpu_us]
        )
