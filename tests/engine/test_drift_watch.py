"""A value that a source says for the first time is told once, with its place in the body, and within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.drift import MOST_IN_AN_HOUR, MOST_KNOWN, Learned
from gateway.core.events import event_of
from gateway.core.records import message_about
from gateway.core.routing import Route
from tests.engine.watching_bench import Life, life
from tests.fakes import START, FakeClock


def say(one: Life, of: str = "legitmark", **values: Any) -> None:
    event = event_of(values)
    one.drift.look(event, message_about(event, b"{}", message_id="a" * 32, source=of, received_at=START))


async def values_told(one: Life) -> list[tuple[str, str, str]]:
    return [(event["source"], event["kind"], event["value"]) for event in await one.told()]


async def test_the_event_names_what_is_new_where_it_stands_and_which_message_brought_it(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        sides = [{"side": "Front", "angle": 3}]
        say(one, event_type="media_rejected", sr_uuid="sr-1", reference_id="BAG-1", sides=sides)
        await one.drift.step()
        assert await one.told() == [
            {
                "event_type": "gateway.drift",
                "timestamp": "2026-02-25T06:13:20.000Z",
                "source": "legitmark",
                "kind": "field",
                "value": "sides[].angle",
                "path": "sides[0].angle",
                "detail": "legitmark sent the field 'sides[].angle' for the first time, at sides[0].angle",
                "message_id": "a" * 32,
                "sr_uuid": "sr-1",
                "reference_id": "BAG-1",
            }
        ]
        (line,) = await one.lines("drift.found")
        assert (line["source"], line["kind"], line["value"], line["path"]) == (
            "legitmark",
            "field",
            "sides[].angle",
            "sides[0].angle",
        )
        assert one.number("drift_total", source="legitmark", kind="field") == 1


async def test_each_value_of_a_source_is_told_once_through_restarts(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(3):
        async with life(tmp_path, clock) as one:
            for source in ("legitmark", "other"):
                say(one, source, event_type="sr_reopened")
                say(one, source, event_type="sr_reopened")
            await one.drift.step()
            say(one, event_type="sr_reopened")
            await one.drift.step()
            assert await values_told(one) == [("legitmark", "type", "sr_reopened"), ("other", "type", "sr_reopened")]


async def test_at_most_twenty_are_told_in_an_hour_and_the_rest_waits(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        say(one, **dict.fromkeys((f"field {number}" for number in range(50)), "x"))
        for hour in range(3):
            for _ in range(3):
                await one.drift.step()
            assert len(await one.told()) == min(MOST_IN_AN_HOUR * (hour + 1), 50)
            clock.advance(3600.0)
        assert len(set(await values_told(one))) == 50


async def test_starts_within_the_hour_make_no_more_than_twenty_together(tmp_path: Path, clock: FakeClock) -> None:
    for start in range(4):
        async with life(tmp_path, clock) as one:
            say(one, **dict.fromkeys((f"field {start}.{number}" for number in range(7)), "x"))
            await one.drift.step()
            assert len(await one.told()) == min(7 * (start + 1), MOST_IN_AN_HOUR)
        clock.advance(600.0)
    async with life(tmp_path, clock) as one:
        say(one, **dict.fromkeys((f"field 9.{number}" for number in range(10)), "x"))
        for made in (MOST_IN_AN_HOUR, MOST_IN_AN_HOUR + 7, MOST_IN_AN_HOUR + 10):
            await one.drift.step()
            assert len(await one.told()) == made, "an event leaves the count an hour after it was made"
            clock.advance(1201.0 if made == MOST_IN_AN_HOUR else 600.0)


@pytest.mark.parametrize("jump", [7200.0, -86_400.0])
async def test_a_clock_that_jumps_neither_shortens_the_hour_nor_makes_it_longer(
    tmp_path: Path, clock: FakeClock, jump: float
) -> None:
    async with life(tmp_path, clock) as one:
        say(one, **dict.fromkeys((f"field {number}" for number in range(MOST_IN_AN_HOUR)), "x"))
        await one.drift.step()
        clock.jump(jump)
        one.jumps.look()
        await one.jumps.keep_time()
    async with life(tmp_path, clock) as one:
        say(one, event_type="sr_reopened")
        await one.drift.step()
        assert len(await one.told()) == MOST_IN_AN_HOUR
        clock.advance(3600.0)
        await one.drift.step()
        assert len(await one.told()) == MOST_IN_AN_HOUR + 1


async def test_a_value_that_waited_through_a_restart_is_told_when_it_comes_again(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        say(one, event_type="sr_reopened")
    async with life(tmp_path, clock) as one:
        await one.drift.step()
        assert await one.told() == []
        say(one, event_type="sr_reopened")
        await one.drift.step()
        assert len(await one.told()) == 1


async def test_beyond_a_thousand_known_values_nothing_of_that_kind_is_told(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        await one.store.keep(
            [Learned("legitmark", "reason", f"reason {number}", START - 7200) for number in range(MOST_KNOWN - 1)]
        )
        for reason in ("the last", "one too many"):
            say(one, event_type="media_rejected", sides=[{"reason": reason}])
            await one.drift.step()
        say(one, event_type="sr_reopened")
        await one.drift.step()
        assert [(kind, value) for _, kind, value in await values_told(one)] == [("reason", "the last"), ("type", "sr_reopened")]
        assert [call.kwargs["event"] for call in one.log.calls] == ["drift.full"]


async def test_a_refused_commit_is_made_again_and_one_that_reappears_is_not_told_twice(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        say(one, event_type="a")
        one.store.refused = 1
        await one.drift.step()
        assert await one.told() == []
        one.store.cut = 1
        for _ in range(3):
            await one.drift.step()
            clock.advance(1.0)  # another body, or the second event would be a duplicate
        assert await values_told(one) == [("legitmark", "type", "a")]


async def test_without_a_route_that_asks_it_is_in_the_audit_log_and_known(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, routes=[Route(name="all", sinks=("mail",))]) as one:
        say(one, event_type="sr_reopened")
        await one.drift.step()
        say(one, event_type="sr_reopened")
        await one.drift.step()
        assert await one.told() == [] and len(await one.lines("drift.found")) == 1
