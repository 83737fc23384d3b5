"""People are told once, or again and again, that a service request stays in a state: through restarts, jumps and storms."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.routing import Route
from gateway.core.values import Duration
from gateway.core.watches import MOST_IN_A_MINUTE, MOST_IN_A_SUMMARY, SETTLE, Watch
from tests.engine.watching_bench import HOUR, Life, life
from tests.fakes import FakeClock
from tests.store.kit import rows

QC = Watch("QC longer than 4 h", ("QC/PENDING",), Duration("4h"))
AGAIN = Watch("again", ("QC/PENDING",), Duration("4h"), Duration("1h"))


async def told_srs(one: Life) -> list[str]:
    return [event["sr_uuid"] for event in await one.told()]


async def settle(one: Life, clock: FakeClock) -> None:
    """Let the first minute after a start pass."""
    clock.advance(SETTLE)
    await one.stalls.step()


async def test_the_event_names_what_people_need_and_goes_to_the_routes_that_ask(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1", ago=30.0)
        await settle(one, clock)
        assert await one.told() == []
        clock.advance(4 * HOUR - 30.0 - SETTLE)
        await one.stalls.step()
        (event,) = await one.told()
        assert event == {
            "event_type": "gateway.sr_stalled",
            "timestamp": "2026-02-25T10:12:50.000Z",
            "watch": "QC longer than 4 h",
            "source": "legitmark",
            "sr_uuid": "sr-1",
            "reference_id": "BAG-sr-1",
            "state": {"primary": "QC", "supplement": "PENDING"},
            "since": "2026-02-25T06:12:50.000Z",
            "count": 1,
            "detail": "QC/PENDING since 2026-02-25T06:12:50.000Z, longer than 4h",
        }
        accepted = [line for line in await one.lines("message.accepted") if line["source"] == "gateway"]
        assert [(line["routes"], line["sinks"], line["sr_uuid"]) for line in accepted] == [(["told"], ["mail"], "sr-1")]
        (line,) = await one.lines("sr.stalled")
        assert (line["watch"], line["sr_uuid"], line["reference_id"], line["count"]) == (QC.name, "sr-1", "BAG-sr-1", 1)
        assert one.number("stalls_total", watch=QC.name) == 1


async def test_a_rule_without_again_tells_once_for_each_entering(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        for _ in range(48):
            await one.stalls.step()
            clock.advance(HOUR)
        assert await told_srs(one) == ["sr-1"]
        await one.enter("sr-1", "QC/REJECTED")
        clock.advance(1)
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await told_srs(one) == ["sr-1", "sr-1"]


async def test_a_rule_with_again_tells_each_time_until_the_next_state(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[AGAIN]) as one:
        await one.enter("sr-1")
        clock.advance(4 * HOUR)
        for _ in range(12):
            await one.stalls.step()
            clock.advance(900.0)
        assert len(await one.told()) == 3
        await one.enter("sr-1", "QC/APPROVED")
        clock.advance(10 * HOUR)
        await one.stalls.step()
        assert len(await one.told()) == 3


async def test_a_state_that_follows_in_time_means_that_nobody_is_told(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(4 * HOUR - 1)
        await one.stalls.step()
        await one.enter("sr-1", "QC/APPROVED")
        clock.advance(9 * HOUR)
        await one.stalls.step()
        assert await one.told() == []


async def test_events_that_come_late_leave_a_minute_for_the_next_state(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await settle(one, clock)
        await one.enter("sr-1", ago=9 * HOUR)
        await one.enter("sr-2", ago=9 * HOUR)
        clock.advance(SETTLE - 1)
        await one.stalls.step()
        assert await one.told() == []
        await one.enter("sr-1", "QC/APPROVED", ago=8 * HOUR)
        clock.advance(1)
        await one.stalls.step()
        assert await told_srs(one) == ["sr-2"]


async def test_what_happened_before_the_present_state_neither_ends_nor_begins_a_time(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("waits")
        await one.enter("waits", "QC/REJECTED", ago=HOUR)
        await one.enter("approved", "QC/APPROVED")
        await one.enter("approved", ago=HOUR)
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await told_srs(one) == ["waits"]


async def test_the_same_state_of_the_same_instant_is_not_told_again(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        await one.stalls.step()
        await one.enter("sr-1", ago=5 * HOUR)
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await told_srs(one) == ["sr-1"]


async def test_nothing_more_is_expected_of_a_request_that_was_invalidated(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(HOUR)
        await one.invalidate("sr-1")
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await one.told() == []


async def test_a_restart_before_the_timer_is_due_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        await settle(one, clock)
    clock.advance(5 * HOUR)
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.stalls.step()
        assert await one.told() == [], "what happened meanwhile may still come"
        await settle(one, clock)
        assert await told_srs(one) == ["sr-1"]


async def test_a_restart_after_the_telling_doubles_nothing(tmp_path: Path, clock: FakeClock) -> None:
    for number in range(3):
        async with life(tmp_path, clock, watches=[QC]) as one:
            if not number:
                await one.enter("sr-1")
            clock.advance(5 * HOUR)
            await one.stalls.step()
            assert await told_srs(one) == ["sr-1"]


async def test_what_a_full_disk_refused_is_told_when_it_has_room(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        one.store.refused = 1
        await one.stalls.step()
        assert await one.told() == [] and one.number("stalls_total", watch=QC.name) == 0
        await one.stalls.step()
        assert await told_srs(one) == ["sr-1"]


async def test_a_commit_whose_caller_hears_of_an_error_is_not_told_twice(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        one.store.cut = 1
        for _ in range(3):
            await one.stalls.step()
            clock.advance(1.0)  # another body, or the second event would be a duplicate
        assert await told_srs(one) == ["sr-1"]


async def test_more_than_twenty_in_a_minute_become_one_summary(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        for number in range(MOST_IN_A_MINUTE):
            await one.enter(f"early-{number}")
        clock.advance(10.0)
        for number in range(30):
            await one.enter(f"late-{number}")
        clock.advance(4 * HOUR - 10)
        await one.stalls.step()
        assert len(await one.told()) == MOST_IN_A_MINUTE
        clock.advance(10.0)
        await one.stalls.step()
        await one.stalls.step()
        *single, summary = await one.told()
        assert len(single) == MOST_IN_A_MINUTE and all(event["count"] == 1 for event in single)
        assert (summary["event_type"], summary["count"], summary["more"]) == ("gateway.sr_stalled", 30, False)
        assert summary["detail"] == "QC longer than 4 h: 30"
        assert summary["requests"][0] == {
            "watch": QC.name,
            "source": "legitmark",
            "sr_uuid": "late-0",
            "reference_id": "BAG-late-0",
            "state": "QC/PENDING",
        }
        assert [line["count"] for line in await one.lines("sr.stalled")] == [1] * MOST_IN_A_MINUTE + [30]


async def test_a_storm_of_any_size_is_one_event_a_minute_and_nobody_is_left_out(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        for number in range(MOST_IN_A_SUMMARY + 25):
            await one.enter(f"sr-{number}")
        clock.advance(5 * HOUR)
        for _ in range(59):
            await one.stalls.step()
            clock.advance(1.0)
        assert [(event["count"], event["more"]) for event in await one.told()] == [(MOST_IN_A_SUMMARY, True)]
        clock.advance(2.0)
        await one.stalls.step()
        assert [event["count"] for event in await one.told()] == [MOST_IN_A_SUMMARY, 25]


async def test_a_stop_of_a_day_ends_in_one_summary(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        for number in range(40):
            await one.enter(f"sr-{number}")
            clock.advance(60.0)
    clock.advance(24 * HOUR)
    async with life(tmp_path, clock, watches=[QC]) as one:
        await settle(one, clock)
        assert [event["count"] for event in await one.told()] == [40]


@pytest.mark.parametrize("jump", [-24 * HOUR, 24 * HOUR])
async def test_a_jump_of_the_clock_tells_nobody_early_or_late(tmp_path: Path, clock: FakeClock, jump: float) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        for number in range(30):
            await one.enter(f"sr-{number}")
        await settle(one, clock)
        clock.jump(jump)
        await one.stalls.step()
        assert await one.told() == []
        one.jumps.look()
        await one.stalls.step()
        assert await one.told() == []
        clock.advance(4 * HOUR - SETTLE - 1)
        await one.stalls.step()
        assert await one.told() == []
        clock.advance(1)
        await one.stalls.step()
        assert [event["count"] for event in await one.told()] == [30]
        clock.advance(HOUR)
        await one.stalls.step()
        assert len(await one.told()) == 1


async def test_a_message_between_a_jump_and_its_notice_begins_a_timer_of_the_right_length(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await settle(one, clock)
        clock.jump(-24 * HOUR)
        await one.enter("sr-1", ago=60.0)
        one.jumps.look()
        clock.advance(4 * HOUR - 61)
        await one.stalls.step()
        assert await one.told() == []
        clock.advance(2)
        await one.stalls.step()
        assert await told_srs(one) == ["sr-1"]


async def test_without_a_route_that_asks_it_is_in_the_audit_log_and_is_not_told_later(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC], routes=[Route(name="all", sinks=("mail",))]) as one:
        await one.enter("sr-1")
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await one.told() == []
        assert [line["sr_uuid"] for line in await one.lines("sr.stalled")] == ["sr-1"]
    async with life(tmp_path, clock, watches=[QC]) as one:
        await settle(one, clock)
        assert await one.told() == []


async def test_a_reload_changes_the_time_of_the_requests_that_wait(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
        clock.advance(2 * HOUR)
        await one.stalls.step()
        one.stalls.use([Watch(QC.name, QC.states, Duration("1h"))])
        await one.stalls.step()
        assert await told_srs(one) == ["sr-1"]


async def test_a_reload_that_removes_a_rule_ends_its_timers(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC, AGAIN]) as one:
        await one.enter("sr-1")
        one.stalls.use([AGAIN])
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert [event["watch"] for event in await one.told()] == ["again"]
        assert rows(one.store.path, "SELECT DISTINCT rule FROM watch_timers") == [("again",)]


async def test_the_status_counts_what_was_told_and_still_stands(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC, AGAIN]) as one:
        await one.enter("sr-1")
        await one.enter("sr-2")
        assert await one.stalls.stalled() == {QC.name: 0, "again": 0}
        clock.advance(5 * HOUR)
        await one.stalls.step()
        assert await one.stalls.stalled() == {QC.name: 2, "again": 2}
        await one.enter("sr-1", "QC/APPROVED")
        assert await one.stalls.stalled() == {QC.name: 1, "again": 1}


async def test_a_configuration_without_rules_keeps_no_timers(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[QC]) as one:
        await one.enter("sr-1")
    async with life(tmp_path, clock) as one:
        await one.stalls.step()
        assert rows(one.store.path, "SELECT * FROM watch_timers") == []
