"""A pause of the sender that is longer than its retries begins a reconciliation, once."""

from __future__ import annotations

import pytest
import structlog

from gateway.core.errors import StoreError
from gateway.core.reconciliation import Trigger
from gateway.core.secrets import Secret
from gateway.ingest.source_watch import Refusing, SourceWatch
from gateway.observability.metrics import Metrics
from gateway.reconcile.gaps import Gaps
from gateway.reconcile.legitmark_api import ApiAccess
from gateway.reconcile.reconciler import Reconciling
from tests.fakes import FakeClock

MINUTE = 60.0
HOUR = 60 * MINUTE
ACCESS = ApiAccess(url="https://api.example.com", header="authorization", scheme="Bearer", key=Secret("leo_x"), timeout=30.0)
SETTINGS = Reconciling(access=ACCESS, source="legitmark", rate=2.0, most=100, emit=False, gap=155 * MINUTE)


class _Bench:
    """The watch over gaps, with a store that has a last message, and a real watch over the source."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.settings: Reconciling | None = SETTINGS
        self.kept_at: float | None = clock.now()
        self.refusing = self.failing = self.silent = False
        self.begun: list[Trigger] = []
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
        self.source = SourceWatch(tell=self._tell, metrics=Metrics(), clock=clock, log=log)
        self.gaps = Gaps(
            settings=lambda: self.settings,
            last_arrival=self._last_arrival,
            arrived_at=self.source.arrived_at,
            is_silent=lambda source: source == "legitmark" and self.silent,
            begin=self._begin,
            clock=clock,
            log=log,
        )

    async def after(self, seconds: float, *, heard: bool = True) -> list[Trigger]:
        """Let time pass, let a message come or not, and look."""
        self.clock.advance(seconds)
        if heard:
            self.source.good("legitmark")
            self.source.good("another")
        await self.gaps.step()
        return self.begun

    async def _tell(self, refusing: Refusing) -> bool:
        raise AssertionError(refusing)

    async def _last_arrival(self, source: str, since: float) -> float | None:
        assert (source, since) == ("legitmark", self.clock.now() - 155 * MINUTE)
        if self.failing:
            raise StoreError("locked")
        return self.kept_at

    async def _begin(self, trigger: Trigger) -> bool:
        if not self.refusing:
            self.begun.append(trigger)
        return not self.refusing


@pytest.fixture
def bench(clock: FakeClock) -> _Bench:
    return _Bench(clock)


async def test_a_start_soon_after_the_last_message_begins_nothing(bench: _Bench) -> None:
    assert await bench.after(155 * MINUTE, heard=False) == []


async def test_a_start_long_after_the_last_message_begins_one(bench: _Bench) -> None:
    assert await bench.after(156 * MINUTE, heard=False) == ["gap"]
    assert await bench.after(10 * HOUR) == ["gap", "gap"], "the first message after another long pause"
    assert await bench.after(MINUTE) == ["gap", "gap"]


async def test_the_first_message_after_such_a_start_begins_no_other(bench: _Bench) -> None:
    await bench.after(10 * HOUR, heard=False)
    assert await bench.after(MINUTE) == ["gap"]


async def test_a_source_that_falls_silent_begins_one_once(bench: _Bench) -> None:
    await bench.after(MINUTE)
    bench.silent = bench.refusing = True
    assert await bench.after(HOUR, heard=False) == []
    bench.refusing = False
    assert await bench.after(MINUTE, heard=False) == ["source_silent"]
    assert await bench.after(MINUTE, heard=False) == ["source_silent"]
    bench.silent = False
    assert await bench.after(MINUTE) == ["source_silent"]
    bench.silent = True
    assert await bench.after(HOUR, heard=False) == ["source_silent", "source_silent"]


async def test_a_database_without_messages_has_no_gap(bench: _Bench) -> None:
    bench.kept_at = None
    assert await bench.after(10 * HOUR, heard=False) == []
    assert await bench.after(MINUTE) == []


async def test_a_pause_while_the_gateway_runs_begins_one_when_the_sender_is_back(bench: _Bench) -> None:
    await bench.after(MINUTE)
    for _ in range(60):
        assert await bench.after(5 * MINUTE, heard=False) == []
    assert await bench.after(1.0) == ["gap"]
    assert await bench.after(30.0) == ["gap"]


async def test_messages_of_another_source_do_not_hide_a_gap(bench: _Bench) -> None:
    await bench.after(MINUTE)
    for _ in range(40):
        bench.clock.advance(5 * MINUTE)
        bench.source.good("another")
        await bench.gaps.step()
    assert await bench.after(1.0) == ["gap"]


async def test_a_clock_that_is_set_back_is_no_gap_and_hides_none(bench: _Bench) -> None:
    await bench.after(MINUTE)
    bench.clock.jump(-10 * HOUR)
    assert await bench.after(MINUTE) == []
    assert await bench.after(3 * HOUR) == ["gap"]


@pytest.mark.parametrize("trouble", ["failing", "refusing"])
async def test_what_cannot_begin_now_begins_later(bench: _Bench, trouble: str) -> None:
    setattr(bench, trouble, True)
    assert await bench.after(3 * HOUR, heard=False) == []
    setattr(bench, trouble, False)
    assert await bench.after(30.0, heard=False) == ["gap"]


async def test_a_pause_that_cannot_begin_one_now_does_so_at_the_next_look(bench: _Bench) -> None:
    await bench.after(MINUTE)
    bench.refusing = True
    await bench.after(3 * HOUR)
    bench.refusing = False
    assert await bench.after(30.0, heard=False) == ["gap"]


async def test_without_the_table_nothing_is_looked_at_and_a_reload_begins_anew(bench: _Bench) -> None:
    bench.settings = None
    bench.failing = True
    assert await bench.after(3 * HOUR, heard=False) == []
    bench.settings, bench.failing = SETTINGS, False
    assert await bench.after(30.0, heard=False) == ["gap"]
