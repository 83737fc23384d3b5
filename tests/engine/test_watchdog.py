"""The watchdog pings systemd only while the store, the audit log and every lane make progress."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.audit_events import GatewayStarted
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.outcome import Delivered, Outcome
from gateway.core.records import Counts
from gateway.core.retry import RetryPolicy
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from gateway.maintenance.watchdog import STUCK, Watchdog
from gateway.sinks.base import Outgoing
from tests.engine.bench import FAILS, Bench, spin
from tests.store.kit import run_sql
from tests.support.locked_database import locked
from tests.support.pipes import full_fifo, read_lines
from tests.support.service_manager import NotifySocket
from tests.support.waiting import PATIENCE, until

LOOK = 5.0
"""Seconds between two looks."""


class Watched:
    """A watchdog that looks when it is told to, over a lane that runs."""

    def __init__(self, bench: Bench, heard: NotifySocket) -> None:
        self.bench = bench
        self.heard = heard
        self.said: list[Any] = []
        self.lanes: dict[str, Lane] = {}
        self.waiting_for_a_read(5.0)

    def waiting_for_a_read(self, seconds: float) -> None:
        """Make a new watchdog with this patience in seconds."""
        bench, microseconds = self.bench, str(int(seconds * 4e6))
        environment = Environment({"NOTIFY_SOCKET": self.heard.address, "WATCHDOG_USEC": microseconds})
        self.watchdog = Watchdog(
            store=bench.store,
            audit=bench.audit,
            lanes=self.lanes,
            systemd=Systemd(environment, bench.clock),
            status=self.status,
            metrics=bench.metrics,
            clock=bench.clock,
            log=structlog.wrap_logger(bench.log, processors=[]),
        )

    def status(self, counts: Any) -> str:
        self.said.append(counts)
        return f"{sum(of.queued for of in counts.values())} queued"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the lane in this block, under the eyes of the watchdog."""
        self.lanes["erp"] = self.bench.lane
        async with self.bench.running():
            yield

    async def pings(self, seconds: float = 0.0) -> bool:
        """Let time pass, with a look every few seconds as in a real gateway. Returns True if the last look pinged."""
        for _ in range(max(1, round(seconds / LOOK))):
            self.bench.clock.advance(LOOK if seconds else 0.0)
            await spin()
            before = len(self.heard.said("WATCHDOG"))
            await self.watchdog.step()
        return len(self.heard.said("WATCHDOG")) > before

    async def has_peace(self, seconds: float) -> None:
        """Check that every look pings. The disk does not follow the fake clock, so it is given its time."""
        for _ in range(round(seconds / 30)):
            assert await self.pings(30)
            await until(lambda: not any(self.bench.store.at_work.values()))

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [call.kwargs for call in self.bench.log.calls if call.kwargs.get("event") == event]


@pytest.fixture
async def watched(bench: Bench, tmp_path: Path) -> AsyncIterator[Watched]:
    with NotifySocket(str(tmp_path / "notify")) as heard:
        yield Watched(bench, heard)


@asynccontextmanager
async def hanging(run: Callable[[Callable[..., Any]], Any]) -> AsyncIterator[threading.Event]:
    """Make a thread of the store hang until the end of the block."""
    inside, release = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        inside.set()
        release.wait(60)

    task = asyncio.ensure_future(run(hang))
    try:
        await until(inside.is_set)
        yield release
    finally:
        release.set()
        await task


async def test_each_look_sends_a_ping_with_the_number_of_queued_deliveries(watched: Watched) -> None:
    await watched.bench.accept(3)
    assert await watched.pings()
    assert watched.heard.said("WATCHDOG")[-1]["STATUS"] == "3 queued"
    assert watched.said == [{"erp": Counts(queued=3, delivered=0, dead=0, discarded=0)}]
    assert await watched.pings(300)


@pytest.mark.parametrize(("asked", "pause"), [(0.4, 0.1), (8.0, 2.0), (20.0, 5.0), (300.0, 5.0)])
async def test_pings_come_four_times_as_often_as_systemd_asks_and_at_least_every_five_seconds(
    watched: Watched, asked: float, pause: float
) -> None:
    watched.waiting_for_a_read(asked / 4)
    clock = watched.bench.clock
    running = asyncio.create_task(watched.watchdog.run())
    for number in range(1, 6):
        await until(lambda: clock.sleeping)
        assert len(watched.heard.said("WATCHDOG")) == number and clock.sleeping == [pytest.approx(pause)]
        clock.advance(pause)
        await until(lambda: not clock.sleeping or clock.sleeping[0] > pause / 2)
        await spin()
    watched.watchdog.stop()
    clock.advance(pause)
    await asyncio.wait_for(running, PATIENCE)


@pytest.mark.parametrize("who", ["writer", "reader"])
async def test_a_database_thread_that_hangs_ends_the_pings_and_is_logged_once(watched: Watched, who: str) -> None:
    store = watched.bench.store
    watched.waiting_for_a_read(0.01)
    async with hanging(store.change if who == "writer" else store.read) as release:
        assert await watched.pings(STUCK), "it may be a slow disk"
        assert not await watched.pings(2 * LOOK)
        assert not await watched.pings(10 * STUCK)
        (line,) = watched.lines("watchdog.stuck")
        assert line["what"] == f"{who} of the database" and "WatchdogSec" in line["do"]
        assert b'invariant_violations_total{invariant="stuck"} 1.0' in watched.bench.metrics.exposition()
        release.set()
        await until(lambda: store.at_work == {"writer": None, "reader": None})
        assert await watched.pings()
        assert watched.lines("watchdog.recovered") == [{"event": "watchdog.recovered", "what": [line["what"]]}]


async def test_a_thread_that_does_not_begin_its_work_ends_the_pings(watched: Watched) -> None:
    """The watchdog does not see what keeps the thread busy, so the thread looks dead."""
    store = watched.bench.store
    async with hanging(store.commits.connection._execute):  # the watchdog does not see it
        accepting = asyncio.ensure_future(watched.bench.accept())
        await until(lambda: store.at_work["writer"] is not None)
        assert await watched.pings(STUCK)
        assert not await watched.pings(2 * LOOK)
    await accepting


async def test_long_work_in_pieces_does_not_count_as_stuck(watched: Watched) -> None:
    for _ in range(5):
        async with hanging(watched.bench.store.change):
            assert await watched.pings(STUCK - LOOK)
    assert watched.lines("watchdog.stuck") == []


async def test_an_audit_log_that_hangs_ends_the_pings(tmp_path: Path, watched: Watched) -> None:
    with full_fifo(tmp_path / "audit.jsonl") as reader:
        watched.bench.audit.step(GatewayStarted(detail="1.0"))
        await until(lambda: watched.bench.audit.at_work)
        try:
            assert await watched.pings(STUCK)
            assert not await watched.pings(2 * LOOK)
            assert [line["what"] for line in watched.lines("watchdog.stuck")] == ["writer of the audit log"]
        finally:
            read = bytearray()
            await until(lambda: read_lines(reader, read) and watched.bench.audit.at_work is None)
        assert await watched.pings()


class StubbornSink:
    """A sink whose `send` does not end when it is cancelled."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.sent = 0

    async def send(self, delivery: Outgoing) -> Outcome:
        self.sent += 1
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        return Delivered()

    async def aclose(self) -> None:
        pass


async def test_an_attempt_far_beyond_its_timeout_ends_the_pings_and_is_logged_with_its_ids(watched: Watched) -> None:
    stubborn = watched.bench.sink = StubbornSink()  # type: ignore[assignment]
    await watched.bench.start(timeout=0.05)
    async with watched.running():
        (owed,) = await watched.bench.give()
        await until(lambda: stubborn.sent)
        try:
            assert await watched.pings(STUCK)
            assert not await watched.pings(2 * LOOK)
            (line,) = watched.lines("watchdog.stuck")
            assert {"sink": "erp", "message_id": owed.message.id, "delivery_id": owed.delivery_id}.items() <= line.items()
        finally:
            stubborn.release.set()
        await watched.bench.until_idle()
        assert await watched.pings()


async def test_an_attempt_has_the_time_of_the_configuration_that_it_began_with(watched: Watched) -> None:
    await watched.bench.start(timeout=1000.0)
    watched.bench.sink.gate = asyncio.Event()
    async with watched.running():
        await watched.bench.give()
        await watched.bench.until_sent(1)
        watched.bench.lane.change(LaneSettings(RetryPolicy(), 16, 1.0), BreakerPolicy(3, 30.0), None, watched.bench.sink)
        await watched.has_peace(900)
        assert not await watched.pings(1000 + STUCK - 900 + 2 * LOOK), "but not without end"
        watched.bench.sink.gate.set()


async def test_a_lane_that_makes_no_step_ends_the_pings(watched: Watched) -> None:
    store = watched.bench.store
    store.claiming, store.go_on = asyncio.Event(), asyncio.Event()
    async with watched.running():
        await watched.bench.accept()
        watched.bench.lane.refresh()
        await until(store.claiming.is_set)
        assert await watched.pings(STUCK + 30)
        assert not await watched.pings(2 * LOOK)
        assert [(line["what"], line["sink"]) for line in watched.lines("watchdog.stuck")] == [("lane of erp", "erp")]
        store.go_on.set()
        store.claiming = None
        await watched.bench.until_sent(1)
        assert await watched.pings()


async def quiet(watched: Watched) -> None:
    """Do nothing."""


async def is_down(watched: Watched) -> None:
    watched.bench.sink.answer = FAILS
    await watched.bench.give(40)


async def is_paused(watched: Watched) -> None:
    await watched.bench.give(40)
    await watched.bench.lane.pause("somebody")


async def hangs_within_its_timeout(watched: Watched) -> None:
    watched.bench.sink.gate = asyncio.Event()
    await watched.bench.give(40)
    await watched.bench.until_sent(16)


async def is_slow(watched: Watched) -> None:
    await watched.bench.give(40)


async def is_on_a_full_disk(watched: Watched) -> None:
    watched.bench.store.settles_refused = 10**6
    await watched.bench.give(40)
    await watched.bench.until_sent(16)
    watched.bench.store.commits.trouble = "the disk is full"


@pytest.mark.parametrize("trouble", [quiet, is_down, is_paused, hangs_within_its_timeout, is_slow, is_on_a_full_disk])
async def test_a_sink_or_a_disk_in_trouble_is_no_reason_for_a_restart(
    watched: Watched, trouble: Callable[[Watched], Any]
) -> None:
    policy = RetryPolicy((0.0, 600.0), 7 * 86400.0)
    timeout, rate = 1000.0 if trouble is hangs_within_its_timeout else 30.0, 0.1 if trouble is is_slow else None
    await watched.bench.start(policy, timeout=timeout, rate=rate)
    async with watched.running():
        await trouble(watched)
        await watched.has_peace(600)
        assert watched.lines("watchdog.stuck") == []
        watched.bench.sink.gate = None


async def test_a_database_locked_by_another_process_is_no_reason_for_a_restart(watched: Watched) -> None:
    store = watched.bench.store
    await run_sql(store, "PRAGMA busy_timeout = 50")
    async with watched.running():
        with locked(store.path):
            for _ in range(10):
                refused = asyncio.ensure_future(watched.bench.accept())
                assert await watched.pings(30)
                with pytest.raises(StoreError, match="locked"):
                    await refused
            assert store.trouble is not None and await watched.pings(30)
        assert watched.lines("watchdog.stuck") == []


async def test_a_process_that_was_stopped_itself_gives_every_part_its_time_again(watched: Watched) -> None:
    async with hanging(watched.bench.store.change):
        assert await watched.pings(LOOK)
        watched.bench.clock.advance(10 * STUCK)
        assert await watched.pings()
        assert await watched.pings(STUCK)
        assert not await watched.pings(2 * LOOK)


async def test_consecutive_attempts_at_one_delivery_do_not_count_as_one_long_attempt(watched: Watched) -> None:
    await watched.bench.start(RetryPolicy((0.0,) * 10, 7 * 86400.0), timeout=1000.0, failures=10**6)
    watched.bench.sink.answer, watched.bench.sink.gate = FAILS, asyncio.Event()
    async with watched.running():
        await watched.bench.give()
        for number in range(1, 4):
            await watched.bench.until_sent(number)
            await watched.has_peace(900)
            over, watched.bench.sink.gate = watched.bench.sink.gate, asyncio.Event()
            over.set()
        watched.bench.sink.gate.set()
    assert watched.lines("watchdog.stuck") == []
