"""How many durable acks a second, and how long one takes: from the request to the commit, with the sinks paused.

An ack means that the webhook was verified, decoded and found to be no duplicate; that the message and its three deliveries are
committed with fsync; and that its audit line is written. Every request is new to the gateway.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.benchmarks import commits, machine, past
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.measured_gateway import MeasuredGateway, jsonl_sinks
from tests.benchmarks.prepared_requests import Shape
from tests.benchmarks.slices import Slice, cpu_shares, in_turns, shares

_UNBOUND = 128
"""Connections that one sender may hold."""
_OLD_PER_SECOND = 2500
"""Old messages for each second of purging: some more than the gateway deletes."""


@contextmanager
def paused_gateway(bench: Bench, *, behind_proxy: bool = False, module: str = "gateway") -> Iterator[MeasuredGateway]:
    """Run a gateway with three paused sinks, on a database of its own."""
    with MeasuredGateway(bench.folder(), jsonl_sinks(), behind_proxy=behind_proxy, module=module) as server:
        server.pause()
        yield server


def against_bare(bench: Bench) -> Iterator[Figure]:
    """Acks a second with 64, 256 and 16 connections, and with 64 of service requests in no order."""
    for connections in (64, 256, 16):
        with paused_gateway(bench, behind_proxy=connections > _UNBOUND) as server:
            growing = partial(bench.acks, server, connections=connections)
            subjects = {"growing": growing}
            if connections == 64:
                subjects["scattered"] = partial(bench.acks, server, connections=connections, shape="scattered")
            turns = in_turns(partial(bench.bare, connections), subjects, bench.size.rounds)
        name = f"durable ack / bare, {connections} connections"
        yield shares(name, turns["growing"])
        if "scattered" in turns:
            yield shares(f"{name}, identities in no order", turns["scattered"])


def one_connection(bench: Bench) -> Iterator[Figure]:
    """How long an ack takes where nothing else waits, in commits of SQLite that do nothing else."""
    ratio, acks = [], []
    with paused_gateway(bench) as server:
        before = _commit_us(bench)
        for _ in range(bench.size.rounds):
            ack, after = bench.latency_us(server, 1), _commit_us(bench)
            ratio.append(ack / ((before + after) / 2))
            acks.append(ack)
            before = after
    yield Figure(name="ack p50 on 1 connection / a FULL commit", samples=ratio)
    yield Figure(name="ack p50 on 1 connection", unit="us", samples=acks)


def duplicates(bench: Bench) -> Iterator[Figure]:
    """Acks a second where each event comes twice, against those where each is new."""
    with paused_gateway(bench) as server:
        repeated = partial(bench.acks, server, shape="repeated")
        turns = in_turns(partial(bench.acks, server), {"repeated": repeated}, bench.size.rounds)
    yield shares("50 % duplicates / unique", turns["repeated"])


def ledger(bench: Bench) -> Iterator[Figure]:
    """Acks a second of a gateway, against those of one that keeps no ledger."""
    with paused_gateway(bench) as judging, paused_gateway(bench, module="tests.benchmarks.unjudging_gateway") as idle:
        shapes: tuple[tuple[Shape, str], ...] = (("followed", ""), ("growing", ", each event of a new service request"))
        for shape, said in shapes:
            turns = in_turns(
                partial(bench.acks, idle, shape=shape), {"ledger": partial(bench.acks, judging, shape=shape)}, bench.size.rounds
            )
            yield shares(f"durable ack with the ledger / without{said}", turns["ledger"])
            yield cpu_shares(f"CPU of an ack without the ledger / with{said}", turns["ledger"])
        if judging.metric("ledger_rows") == 0 or judging.metric("ledger_unjudged_total") or idle.metric("ledger_rows"):
            raise RuntimeError("one of the two gateways did not do what is measured")


def purging(bench: Bench) -> Iterator[Figure]:
    """Acks a second of a gateway that purges old messages meanwhile, against those of one that has none."""
    folder = bench.folder()
    old = _OLD_PER_SECOND * (bench.size.seconds * bench.size.rounds + 5)
    past.build(folder / "gateway.db", messages=old, delivered_days_ago=200)
    module = "tests.benchmarks.purging_gateway"
    with MeasuredGateway(folder, jsonl_sinks(), module=module) as purges, paused_gateway(bench) as idle:
        purges.pause()
        past.await_purge(folder / "gateway.db", fewer_than=old)
        purges.hold()
        before = past.old_messages(folder / "gateway.db")
        purging = partial(_in_its_turn, bench, purges)
        turns = in_turns(partial(bench.acks, idle), {"purging": purging}, bench.size.rounds)
        purges.kill()
        after = past.old_messages(folder / "gateway.db")
    if not 0 < after < before:
        raise RuntimeError(f"there were {before:,} old messages before the slices and {after:,} after them")
    yield shares("ingest while purging / without", turns["purging"])


def _in_its_turn(bench: Bench, server: MeasuredGateway) -> Slice:
    server.release()
    measured = bench.acks(server)
    server.hold()
    return measured


def _commit_us(bench: Bench) -> float:
    """Return the median of a plain commit on the disk of the gateway's database, on the gateway's core, in microseconds."""
    command = [*machine.PINNED, sys.executable, "-m", commits.__name__, str(bench.folder()), str(bench.size.seconds)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(said.stdout)
