"""The cost of a delivery beside its request: lanes on a real store and audit log, with sinks that answer at once.

Each round delivers a backlog, which the lanes claim from the store, and then as many fresh deliveries, which are offered to
them as ingest does. The figures are medians: deliveries per second of the event loop's CPU time and on the clock, and the
microseconds of CPU per delivery in the event loop, and in all threads. CPU time counts because other work on the host hardly
changes it.

    python -m tests.benchmarks.delivery [--seconds 5] [--sinks 3] [--concurrency 16] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from gateway.core.breaker import BreakerPolicy
from gateway.core.events import Event, decode
from gateway.core.outcome import Delivered, Outcome
from gateway.core.records import Accepted, KeptGates, Message, NewMessage, Owed
from gateway.core.retry import RetryPolicy
from gateway.core.samples import SAMPLES
from gateway.core.values import rfc3339
from gateway.delivery.directory import Directory
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.sinks.base import Outgoing
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import own_events_for
from tests.support.waiting import until

_MESSAGES = 1000
"""Messages of one part of a round."""
_AT_ONCE = 100
"""Messages that are accepted together."""


class Cost(Struct, frozen=True):
    """The seconds that some deliveries took."""

    clock: float
    loop: float
    """CPU time of the event loop's thread."""
    process: float
    """CPU time of all threads."""


class PromptSink:
    """A sink that delivers without a request."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, delivery: Outgoing) -> Outcome:
        self.sent += 1
        return Delivered(200)

    async def aclose(self) -> None:
        """Close nothing."""


class Rig:
    """Lanes over a store, in one process."""

    def __init__(self, store: SqliteStore, audit: AuditLog, clock: Clock, sinks: int, concurrency: int) -> None:
        self._store, self._clock = store, clock
        self._sinks = {f"sink{number}": PromptSink() for number in range(sinks)}
        self._due = 0
        self.lanes = Directory()
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
        world = LaneWorld(store, audit, own_events_for(store, audit, clock), Metrics(), clock, log)
        settings = LaneSettings(RetryPolicy(), concurrency, 30.0)
        for name, sink in self._sinks.items():
            world.metrics.expect((), (name,))
            self.lanes[name] = Lane(name, sink, settings, Gates(KeptGates(), BreakerPolicy(), None, clock), world)

    async def backlog(self) -> Cost:
        """Measure the delivery of messages that the lanes have to claim."""
        for _ in range(0, _MESSAGES, _AT_ONCE):
            await self._accept()
        for lane in self.lanes.values():
            lane.refresh()
        return await self._measured()

    async def fresh(self) -> Cost:
        """Measure the delivery of messages that are offered to the lanes after each commit."""
        costs = []
        for _ in range(0, _MESSAGES, _AT_ONCE):
            for owed in await self._accept():
                self.lanes.offer(owed, owed.since)
            costs.append(await self._measured())
        return Cost(sum(cost.clock for cost in costs), sum(cost.loop for cost in costs), sum(cost.process for cost in costs))

    async def _accept(self) -> list[Owed]:
        new = [self._message() for _ in range(_AT_ONCE)]
        self._due += len(new) * len(self._sinks)
        owed = []
        for message, stored in zip(new, await asyncio.gather(*map(self._store.accept, new)), strict=True):
            assert isinstance(stored, Accepted)
            owed += [Owed(stored.seq, sink, message.message, message.message.received_at) for sink in self._sinks]
        return owed

    async def _measured(self) -> Cost:
        """Wait until everything is delivered."""
        clock, loop, process = time.perf_counter(), time.thread_time(), time.process_time()
        await until(lambda: self._sent() == self._due and not any(lane.oldest_in_flight for lane in self.lanes.values()))
        return Cost(time.perf_counter() - clock, time.thread_time() - loop, time.process_time() - process)

    def _sent(self) -> int:
        return sum(sink.sent for sink in self._sinks.values())

    def _message(self) -> NewMessage:
        now = self._clock.now()
        body = msgspec.json.encode(SAMPLES["authentic"] | {"sr_uuid": self._clock.new_id(), "timestamp": rfc3339(now)})
        event = decode(body)
        assert isinstance(event, Event)
        message = Message(
            id=self._clock.new_id(),
            source="legitmark",
            sender_id=f"msg_{self._clock.new_id()}",
            received_at=now,
            content_type="application/json",
            body=body,
            event_type=event.event_type,
            milestone=event.milestone.value,
            sr_uuid=event.sr_uuid,
            reference_id=event.reference_id,
        )
        return NewMessage(message, "accepted", deliveries=tuple((name, now) for name in self._sinks))


@asynccontextmanager
async def running(folder: Path, sinks: int, concurrency: int) -> AsyncIterator[Rig]:
    """Lanes that work in this block."""
    clock, log = Clock(), structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    audit = AuditLog(folder / "audit.jsonl", clock, log)
    store = await SqliteStore.open(folder / "gateway.db", 90 * 86400.0, audit=audit)
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    rig = Rig(store, audit, clock, sinks, concurrency)
    lanes = [asyncio.create_task(lane.run()) for lane in rig.lanes.values()]
    try:
        yield rig
    finally:
        for lane in rig.lanes.values():
            lane.stop()
        await asyncio.gather(*lanes)
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


async def measure(options: argparse.Namespace) -> None:
    costs: dict[str, list[Cost]] = {"backlog": [], "fresh": []}
    end = time.perf_counter() + options.seconds
    profile = cProfile.Profile(time.thread_time) if options.profile else None
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        async with running(Path(folder), options.sinks, options.concurrency) as rig:
            while not costs["fresh"] or time.perf_counter() < end:
                for name, part in (("backlog", rig.backlog), ("fresh", rig.fresh)):
                    if profile is not None:
                        profile.enable()
                    costs[name].append(await part())
    if profile is not None:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    number = _MESSAGES * options.sinks
    for name, parts in costs.items():
        clock, loop, process = (statistics.median(getattr(cost, kind) for cost in parts) for kind in Cost.__struct_fields__)
        print(
            f"{name:8} {number / clock:8,.0f} deliveries/s on the clock;  {loop / number * 1e6:6.1f} microseconds of CPU each in"
            f" the event loop, {process / number * 1e6:6.1f} in all threads; rounds: {len(parts)}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="the cost of a delivery beside its request")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sinks", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--profile", action="store_true", help="show where the event loop spends its time; slows it down")
    asyncio.run(measure(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
