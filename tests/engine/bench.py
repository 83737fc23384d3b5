"""A lane with a real store and audit log, a clock that tests move, and a sink that answers as a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.outcome import Reason, Retry
from gateway.core.records import Accepted, Claimed, KeptGates, Message, NewMessage, Owed, Settlement
from gateway.core.retry import RetryPolicy
from gateway.core.selection import Target
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.memory import Memory
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.host.clock import Clock
from gateway.maintenance.janitor import Janitor
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import MOST_CLAIMED_BYTES, ToldSettled
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import FakeClock, FakeSink, own_events_for
from tests.store.kit import limit_pages, rows
from tests.support.maintenance import maintenance_of
from tests.support.waiting import until

HOUR = 3600.0
DAY = 24 * HOUR
A_BIT = 0.002
"""Seconds that absorb the store's rounding to milliseconds."""
FAILS = Retry(Reason.HTTP_STATUS, "HTTP 500", 500)
_POLICY = RetryPolicy()
_Store = TypeVar("_Store", bound=SqliteStore)


class TroubledStore(SqliteStore):
    """A store that refuses a number of operations, or delays their answers."""

    settles_refused = 0
    claims_refused = 0
    keeps_refused = 0
    closes_refused = 0
    keeping: asyncio.Event | None = None
    """If set, `keep_gates` refuses only after this event."""
    fatal = False
    settling: asyncio.Event | None = None
    """The store sets this event when it is given an outcome to commit."""
    tell: asyncio.Event | None = None
    """If set, the commit of an outcome is reported only after this event."""
    claiming: asyncio.Event | None = None
    """The store sets this event when a claim has read its rows; the claim then waits for `go_on`."""
    go_on: asyncio.Event | None = None
    claimed: list[int]
    """The limit of each claim so far."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.claimed = []

    def has_refused_all_but(self, number: int) -> bool:
        return self.settles_refused == number

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Any = None) -> None:
        if self.settles_refused > 0:
            self.settles_refused -= 1
            told(StoreFailed("the disk is gone") if self.fatal else StoreError("the disk is full"))
            return
        if self.settling is not None:
            self.settling.set()
        super().submit_settlement(settlement, told if self.tell is None else self._late(told, self.tell), lines)

    def _late(self, told: ToldSettled, tell: asyncio.Event) -> ToldSettled:
        """Tell after an event."""

        def wait(in_time: bool | Exception) -> None:
            waiting = asyncio.ensure_future(tell.wait())
            waiting.add_done_callback(lambda _: told(in_time))

        return wait

    async def claim(
        self, sink: str, now: float, limit: int, busy: Any, *, by_sr: bool = False, room: int = MOST_CLAIMED_BYTES
    ) -> Claimed:
        if self.claims_refused > 0:
            self.claims_refused -= 1
            raise StoreError("locked")
        self.claimed.append(limit)
        claim = await super().claim(sink, now, limit, busy, by_sr=by_sr, room=room)
        if self.claiming is not None and self.go_on is not None:
            self.claiming.set()
            await self.go_on.wait()
        return claim

    async def close_join(self, seq: int, sink: str) -> Message | None:
        if self.closes_refused > 0:
            self.closes_refused -= 1
            raise StoreError("the disk is full")
        return await super().close_join(seq, sink)

    async def keep_gates(self, sink: str, state: KeptGates) -> None:
        if self.keeps_refused > 0:
            self.keeps_refused -= 1
            if self.keeping is not None:
                await self.keeping.wait()
            raise StoreError("the disk is full")
        await super().keep_gates(sink, state)


class Bench:
    """A lane and the parts that it needs. A test makes its steps one by one (`work`), or lets it run (`running`)."""

    lane: Lane
    failures = 3
    """The number of failures in a row that open its breaker, unless `start` is given another one."""

    def __init__(self, store: TroubledStore, audit: AuditLog, clock: FakeClock, log: structlog.testing.CapturingLogger) -> None:
        self.store = store
        self.audit = audit
        self.clock = clock
        self.aging: Clock = clock
        """The clock by which deliveries are planned and age."""
        self.log = log
        self.sink = FakeSink()
        self.metrics = Metrics()
        self.memory = Memory()

    async def start(
        self,
        policy: RetryPolicy = _POLICY,
        *,
        concurrency: int = 16,
        timeout: float = 30.0,
        failures: int | None = None,
        probe: float = 30.0,
        rate: float | None = None,
        by_sr: bool = False,
        joins: bool = False,
    ) -> Lane:
        """Make a new lane from what the store holds, as a restart does."""
        log = structlog.wrap_logger(self.log, processors=[structlog.processors.format_exc_info])
        own_events = own_events_for(self.store, self.audit, self.clock)
        world = LaneWorld(self.store, self.audit, own_events, self.metrics, self.clock, log, self.memory)
        kept = (await self.store.all_gates()).get("erp", KeptGates())
        gates = Gates(kept, BreakerPolicy(failures or self.failures, probe), rate, self.clock)
        self.lane = Lane("erp", self.sink, LaneSettings(policy, concurrency, timeout, by_sr, joins), gates, world)
        return self.lane

    def janitor(self) -> Janitor:
        log = structlog.wrap_logger(self.log, processors=[])
        return maintenance_of(self.store, self.audit, {"erp": self.lane}, self.metrics, self.clock, log).janitor

    async def accept(self, number: int = 1, *, due_in: float = 0.0, body: bytes | None = None) -> list[Owed]:
        """Commit messages with one delivery each, and do not offer them to the lane."""
        return [await self._commit(due_in, body=body) for _ in range(number)]

    async def accept_of(self, sr: str, at: float) -> Owed:
        """Commit an event of a service request, with its instant, for a sink with `ordering = "sr"`."""
        return await self._commit(0.0, sr, at)

    async def _commit(self, due_in: float, sr: str | None = None, at: float | None = None, *, body: bytes | None = None) -> Owed:
        now = self.clock.now()
        message = Message(self.clock.new_id(), "legitmark", None, now, None, body or self.clock.new_id().encode(), sr_uuid=sr)
        in_order = frozenset({"erp"}) if sr is not None else frozenset[str]()
        since = self.aging.planned(now)
        new = NewMessage(message, "accepted", None, (("erp", since + due_in),), in_order, at, since)
        stored = await self.store.accept(new)
        assert isinstance(stored, Accepted)
        return Owed(stored.seq, "erp", message, since)

    async def give(self, number: int = 1) -> list[Owed]:
        """Commit messages and offer them to the lane, as ingest does."""
        return [self.offer(owed) for owed in await self.accept(number)]

    def offer(self, owed: Owed) -> Owed:
        self.lane.offer(owed, self.aging.now())
        return owed

    async def discard(self, *owed: Owed) -> None:
        targets = [Target(one.seq, "erp") for one in owed]
        await self.store.discard(targets, now=self.clock.now(), actor="ann")

    async def replay(self, *owed: Owed) -> None:
        targets = [Target(one.seq, "erp") for one in owed]
        await self.store.reopen(targets, ["dead"], add=False, now=self.aging.now(), actor="ann")

    async def break_open(self) -> list[Owed]:
        """Open the breaker by three deliveries that fail, and return them."""
        self.sink.answer = FAILS
        owed = await self.give(3)
        await self.work()
        assert self.lane.gates.breaker.is_open
        self.sink.sent.clear()
        return owed

    async def work(self) -> float | None:
        """Step until there is nothing to do. Return the seconds until there is, or None if the lane waits for an offer."""
        for _ in range(1000):
            before = len(self.sink.sent)
            async with asyncio.TaskGroup() as sends:
                pause = await self.lane.step(sends)
            if pause != 0 and len(self.sink.sent) == before:
                return pause
        raise AssertionError("it is never done")

    async def work_to_the_end(self) -> None:
        """Work and let time pass in turn, until nothing is left to do."""
        for _ in range(200):
            if (pause := await self.work()) is None:
                return
            self.clock.advance(pause)
        raise AssertionError("there is no end")

    async def to_the_end(self, most: float = 1e6) -> None:
        """Work and let time pass in turn, until nothing is queued."""
        begun = self.clock.passed
        while self.clock.passed - begun < most:
            pause = await self.work()
            if not await self.queued():
                return
            self.clock.advance(min(pause if pause is not None else 30.0, 30.0) + A_BIT)
        raise AssertionError("there is no end")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.lane.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def rows(self, columns: str = "state, attempts, retries, reason") -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(rows, self.store.path, f"SELECT {columns} FROM deliveries ORDER BY message")

    async def limit_pages(self, most: int) -> int:
        """Bound the database to so many pages, or to its present size if that is larger; return the bound before."""
        return await limit_pages(self.store, most)

    async def queued(self) -> int:
        return [state for (state,) in await self.rows("state")].count("queued")

    async def lines(self) -> list[dict[str, Any]]:
        await self.audit.flush()
        return [json.loads(line) for line in self.audit.path.read_bytes().splitlines()] if self.audit.path.exists() else []

    async def events(self, *names: str) -> list[str]:
        return [line["event"] for line in await self.lines() if not names or line["event"] in names]

    async def until_sent(self, number: int) -> None:
        await until(lambda: len(self.sink.sent) >= number)

    async def until_idle(self) -> None:
        await until(lambda: self.lane.oldest_in_flight is None)

    @property
    def order(self) -> list[str]:
        return [delivery.delivery_id for delivery in self.sink.sent]


class BusySink(FakeSink):
    """A sink that takes a moment for each delivery, and notes the most that it had at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def send(self, delivery: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        await spin()
        self.now -= 1
        return await super().send(delivery)


@asynccontextmanager
async def working(kind: type[_Store], folder: Path, clock: FakeClock, log: Any) -> AsyncIterator[tuple[_Store, AuditLog]]:
    """A store and an audit log that work in this block; at its end both are complete and closed."""
    audit = AuditLog(folder / "audit.jsonl", clock, structlog.wrap_logger(log, processors=[]))
    store = await kind.open(folder / "gateway.db", 90 * 86400.0, audit=audit)
    assert isinstance(store, kind)
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        yield store, audit
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


def ids(owed: list[Owed]) -> list[str]:
    return [one.delivery_id for one in owed]


async def spin() -> None:
    """Let every task run until it waits for the disk."""
    for _ in range(20):
        await asyncio.sleep(0)
