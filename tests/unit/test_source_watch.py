"""The notices about a source that refuses everything and about a wrong clock: their causes, their limits, and their ends."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.signature import Claim
from gateway.core.values import rfc3339
from gateway.ingest.source_watch import DISTINCT, ENOUGH, NONE_GOOD, REMEMBERED, Refusing, SourceWatch
from gateway.observability.metrics import Metrics
from tests.fakes import FakeClock
from tests.support.metric_values import metric_values


class Watched:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.log = structlog.testing.CapturingLogger()
        self.told: list[Refusing] = []
        self.deaf = False
        log = structlog.wrap_logger(self.log, processors=[])
        self.watch = SourceWatch(tell=self._tell, metrics=self.metrics, clock=self.clock, log=log)

    async def _tell(self, refusing: Refusing) -> bool:
        if not self.deaf:
            self.told.append(refusing)
        return not self.deaf

    def refuse(self, number: int = 1, source: str = "legitmark", reason: str = "bad_signature") -> None:
        for _ in range(number):
            self.watch.refused(source, reason)

    def stale(self, sender_id: str, offset: float) -> None:
        self.replay(sender_id, int(self.clock.now() + offset))

    def replay(self, sender_id: str, timestamp: int) -> None:
        """Handle a request that its sender signed at `timestamp`, in Unix seconds."""
        self.watch.stale("legitmark", Claim(sender_id.encode(), str(timestamp).encode(), b"v1,x"))

    @property
    def sources(self) -> list[tuple[str, str, int]]:
        return [(one.source, one.reason, one.count) for one in self.watch.refusing()]

    @property
    def said(self) -> list[str]:
        return [str(call.kwargs["event"]) for call in self.log.calls]


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_ten_refusals_in_a_row_need_a_person_until_the_first_good_message(watched: Watched) -> None:
    watched.refuse(ENOUGH - 1)
    await watched.watch.step()
    assert watched.sources == [] and watched.told == []
    watched.refuse()
    for _ in range(3):
        await watched.watch.step()
    assert watched.sources == [("legitmark", "bad_signature", 10)]
    assert [one.source for one in watched.told] == ["legitmark"] and watched.said == ["source.refusing"]
    said = watched.log.calls[0].kwargs
    assert (said["source"], said["since"], said["count"]) == ("legitmark", rfc3339(watched.told[0].since), 10)
    assert "secret" in said["do"]
    watched.watch.keep(["legitmark"])  # a reload
    assert watched.sources != []
    watched.watch.good("legitmark")
    await watched.watch.step()
    assert watched.sources == [] and watched.said == ["source.refusing", "source.accepting"]
    watched.refuse(ENOUGH)
    watched.clock.advance(NONE_GOOD)
    await watched.watch.step()
    assert len(watched.told) == 2


async def test_a_notice_that_could_not_be_sent_is_sent_as_soon_as_possible(watched: Watched) -> None:
    watched.deaf = True
    watched.refuse(ENOUGH)
    for _ in range(3):
        await watched.watch.step()
    assert watched.told == [] and watched.said == ["source.refusing"]
    watched.deaf = False
    watched.refuse()
    for _ in range(3):
        await watched.watch.step()
    assert [one.count for one in watched.told] == [ENOUGH + 1] and watched.said == ["source.refusing"]


async def test_a_good_message_within_five_minutes_proves_the_secret_right(watched: Watched) -> None:
    watched.watch.good("legitmark")
    watched.refuse(500)
    watched.clock.advance(NONE_GOOD - 1)
    assert watched.sources == []
    watched.clock.advance(1)
    assert watched.sources == [("legitmark", "bad_signature", 500)]


async def test_each_source_is_counted_separately_and_a_removed_one_is_forgotten(watched: Watched) -> None:
    watched.refuse(ENOUGH, "a")
    watched.refuse(ENOUGH, "b", "missing_signature")
    watched.watch.good("c")
    assert watched.sources == [("a", "bad_signature", 10), ("b", "missing_signature", 10)]
    watched.refuse(100, "c", "method_not_allowed")
    watched.watch.keep(["a"])
    assert watched.sources == [("a", "bad_signature", 10)]


async def test_a_copy_of_a_captured_request_is_no_sign_of_a_wrong_clock(watched: Watched) -> None:
    for _ in range(100):
        watched.stale("msg_captured", -7200)
        watched.clock.advance(0.5)
    assert not watched.watch.suspects_clock


async def test_a_suspicion_of_the_clock_ends_with_time_or_the_first_good_message(watched: Watched) -> None:
    for number in range(DISTINCT):
        watched.stale(f"msg_{number}", 3600)
    await watched.watch.step()
    assert watched.watch.suspects_clock and metric_values(watched.metrics, "clock_suspect") == [1]
    watched.clock.advance(REMEMBERED)
    await watched.watch.step()
    assert not watched.watch.suspects_clock and metric_values(watched.metrics, "clock_suspect") == [0]
    for number in range(DISTINCT):
        watched.stale(f"msg_{number + 10}", 3600)
    assert watched.watch.suspects_clock
    watched.watch.good("legitmark")
    assert not watched.watch.suspects_clock
    await watched.watch.step()
    assert watched.said == ["clock.suspect", "clock.trusted"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-4000, 4000)), max_size=30))
def test_the_clock_is_suspect_when_three_ids_agree_and_only_then(seen: list[tuple[int, int]]) -> None:
    watched, last = Watched(), dict[int, int]()
    for number, offset in sorted(seen, key=lambda one: one[1]):  # as a sender signs them, one after the other
        watched.stale(f"msg_{number}", offset)
        last[number] = offset
    agree = any(sum(0 <= other - one <= 10 for other in last.values()) >= DISTINCT for one in last.values())
    assert watched.watch.suspects_clock == agree


captured = st.lists(st.integers(1_000_000, 1_003_600), min_size=3, max_size=80)
"""The times at which captured requests were signed, before an attacker sends them again."""
replays = st.lists(st.tuples(st.integers(0, 79), st.sampled_from([0.0, 1.0, 60.0, REMEMBERED])), max_size=150)
"""The captured request that comes next, and the seconds until then."""


@given(captured, replays)
async def test_captured_requests_are_ignored_once_their_sender_has_signed_a_good_one(
    captured: list[int], replays: list[tuple[int, float]]
) -> None:
    watched = Watched()
    watched.watch.good("legitmark", max(captured))
    for number, later in replays:
        watched.clock.advance(later)
        watched.replay(f"msg_{number % len(captured)}", captured[number % len(captured)])
        await watched.watch.step()
    assert (watched.said, watched.told, watched.sources) == ([], [], [])


@given(captured, replays)
async def test_each_captured_request_counts_once_however_often_it_is_sent(
    captured: list[int], replays: list[tuple[int, float]]
) -> None:
    """No good message has arrived since the start yet, so nothing shows that they are old."""
    watched, seconds = Watched(), 0.0
    for number, later in replays:
        watched.clock.advance(later)
        watched.replay(f"msg_{number % len(captured)}", captured[number % len(captured)])
        await watched.watch.step()
        seconds += later * watched.watch.suspects_clock
    assert seconds <= len(captured) * REMEMBERED
    assert watched.said.count("clock.suspect") <= len(captured) // DISTINCT
    assert sum(count for _, _, count in watched.sources) <= len(captured)
    watched.watch.good("legitmark", max(captured))
    assert not watched.watch.suspects_clock and watched.sources == []


@pytest.mark.parametrize("burst", [3, 64, 200])
async def test_a_burst_of_captured_requests_sent_for_hours_is_one_notice_of_ten_minutes(burst: int, watched: Watched) -> None:
    suspected = 0
    for _ in range(3 * 3600 // 60):
        for number in range(burst):
            watched.replay(f"msg_{number}", 1_000_000)
        await watched.watch.step()
        suspected += watched.watch.suspects_clock
        watched.clock.advance(60)
    assert suspected == REMEMBERED // 60
    assert watched.said.count("clock.suspect") == 1


async def test_another_source_with_a_good_message_ends_a_suspicion_and_copies_do_not_bring_it_back(watched: Watched) -> None:
    for _ in range(3):
        for number in range(DISTINCT):
            watched.replay(f"msg_{number}", 1_000_000)
        watched.watch.good("other", 2_000_000)
        watched.clock.advance(1)
        await watched.watch.step()
        assert not watched.watch.suspects_clock


async def test_a_clock_that_jumped_is_noticed_with_the_third_message_that_was_signed_since(watched: Watched) -> None:
    watched.watch.good("legitmark", int(watched.clock.now()))
    for number in range(DISTINCT):
        assert not watched.watch.suspects_clock
        watched.clock.advance(30)
        watched.stale(f"msg_{number}", -3600 + 7200)
    assert watched.watch.suspects_clock


async def test_a_message_that_its_sender_signs_again_is_not_a_copy(watched: Watched) -> None:
    for _ in range(ENOUGH):
        watched.stale("msg_0", 3600)
        watched.clock.advance(60)
    assert watched.sources == [("legitmark", "stale_timestamp", ENOUGH)]
    assert not watched.watch.suspects_clock
