"""A source that refuses everything, and a clock that is wrong: what counts for them, what does not, and how they end."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.signature import Claim
from gateway.engine.source_watch import DISTINCT, ENOUGH, NONE_GOOD, REMEMBERED, Refusing, SourceWatch
from gateway.metrics import Metrics
from tests.fakes import FakeClock


class Watched:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.log = structlog.testing.CapturingLogger()
        self.told: list[Refusing] = []
        log = structlog.wrap_logger(self.log, processors=[])
        self.watch = SourceWatch(tell=self._tell, metrics=self.metrics, clock=self.clock, log=log)

    async def _tell(self, refusing: Refusing) -> None:
        self.told.append(refusing)

    def refuse(self, number: int = 1, source: str = "legitmark", reason: str = "bad_signature") -> None:
        for _ in range(number):
            self.watch.refused(source, reason)

    def stale(self, sender_id: str, offset: float) -> None:
        self.watch.stale(Claim(sender_id.encode(), str(int(self.clock.now() + offset)).encode(), b"v1,x"))

    @property
    def sources(self) -> list[tuple[str, str, int]]:
        return [(one.source, one.reason, one.count) for one in self.watch.refusing()]

    @property
    def said(self) -> list[str]:
        return [str(call.kwargs["event"]) for call in self.log.calls]


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_ten_in_a_row_and_none_good_need_a_person_until_the_first_good_one(watched: Watched) -> None:
    watched.refuse(ENOUGH - 1)
    await watched.watch.step()
    assert watched.sources == [] and watched.told == []
    watched.refuse()
    for _ in range(3):
        await watched.watch.step()
    assert watched.sources == [("legitmark", "bad_signature", 10)]
    assert [one.source for one in watched.told] == ["legitmark"] and watched.said == ["source.refusing"]
    watched.watch.keep(["legitmark"])  # a reload
    assert watched.sources != []
    watched.watch.good("legitmark")
    await watched.watch.step()
    assert watched.sources == [] and watched.said == ["source.refusing", "source.accepting"]
    watched.refuse(ENOUGH)
    watched.clock.advance(NONE_GOOD)
    await watched.watch.step()
    assert len(watched.told) == 2


async def test_a_good_one_within_five_minutes_says_that_the_secret_is_right(watched: Watched) -> None:
    watched.watch.good("legitmark")
    watched.refuse(500)
    watched.clock.advance(NONE_GOOD - 1)
    assert watched.sources == []
    watched.clock.advance(1)
    assert watched.sources == [("legitmark", "bad_signature", 500)]


async def test_each_source_has_a_row_of_its_own_and_one_that_left_none(watched: Watched) -> None:
    watched.refuse(ENOUGH, "a")
    watched.refuse(ENOUGH, "b", "missing_signature")
    watched.watch.good("c")
    assert watched.sources == [("a", "bad_signature", 10), ("b", "missing_signature", 10)]
    watched.refuse(100, "c", "method_not_allowed")
    watched.watch.keep(["a"])
    assert watched.sources == [("a", "bad_signature", 10)]


async def test_a_copy_of_a_captured_request_says_nothing_of_the_clock(watched: Watched) -> None:
    for _ in range(100):
        watched.stale("msg_captured", -7200)
        watched.clock.advance(0.5)
    assert not watched.watch.suspects_clock


async def test_a_suspicion_of_the_clock_ends_with_time_or_the_first_good_message(watched: Watched) -> None:
    for number in range(DISTINCT):
        watched.stale(f"msg_{number}", 3600)
    await watched.watch.step()
    assert watched.watch.suspects_clock and watched.metrics.values("clock_suspect") == [1]
    watched.clock.advance(REMEMBERED)
    await watched.watch.step()
    assert not watched.watch.suspects_clock and watched.metrics.values("clock_suspect") == [0]
    for number in range(DISTINCT):
        watched.stale(f"msg_{number + 10}", 3600)
    assert watched.watch.suspects_clock
    watched.watch.good("legitmark")
    assert not watched.watch.suspects_clock
    await watched.watch.step()
    assert watched.said == ["clock.suspect", "clock.trusted"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-4000, 4000)), max_size=30))
def test_the_clock_is_suspect_when_three_ids_agree_and_only_then(seen: list[tuple[int, int]]) -> None:
    watched, first = Watched(), dict[int, int]()
    for number, offset in seen:
        watched.stale(f"msg_{number}", offset)
        first.setdefault(number, offset)
    agree = any(sum(0 <= other - one <= 10 for other in first.values()) >= DISTINCT for one in first.values())
    assert watched.watch.suspects_clock == agree
