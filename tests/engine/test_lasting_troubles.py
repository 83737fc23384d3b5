"""People are told once of a source that sends nothing for long, and of a sink that fails for long: through restarts and jumps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.core.outcome import Reason
from gateway.core.routing import Route
from tests.engine.watching_bench import HOUR, Life, life
from tests.fakes import FakeClock


async def passes(one: Life, clock: FakeClock, seconds: float, *, look: float = 10.0) -> None:
    """Let time pass, with a look at every `look` seconds."""
    for _ in range(round(seconds / look)):
        clock.advance(look)
        await one.troubles.step()


async def kinds(one: Life) -> list[tuple[str, str]]:
    return [(event["event_type"], event.get("source") or event["sink"]) for event in await one.told()]


SILENT = ("gateway.source_silent", "legitmark")
FAILING = ("gateway.sink_failing", "erp")


async def test_a_silent_source_is_told_once_until_something_comes(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        one.sources.good("legitmark")
        await passes(one, clock, 2 * HOUR - 10)
        assert await one.told() == []
        await passes(one, clock, 20 * HOUR, look=30.0)
        (event,) = await one.told()
        assert (event["event_type"], event["source"]) == SILENT
        assert event["detail"] == "nothing has come from legitmark for 2h"
        assert one.number("source_silent", source="legitmark") == 1
        assert [line["source"] for line in await one.lines("source.silent")] == ["legitmark"]
        assert [trouble.subject for trouble in one.troubles.silent()] == ["legitmark"]
        one.sources.good("legitmark")
        await passes(one, clock, 2 * HOUR)
        assert len(await one.told()) == 1 and one.number("source_silent", source="legitmark") == 0
        await passes(one, clock, 20.0)
        assert await kinds(one) == [SILENT, SILENT]


async def test_by_default_no_silence_is_told(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        await passes(one, clock, 100 * HOUR, look=60.0)
        assert await one.told() == []


async def test_a_source_that_speaks_now_and_then_is_not_silent(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        for _ in range(6):
            await passes(one, clock, 1.9 * HOUR)
            one.sources.good("legitmark")
        assert await one.told() == []


async def test_a_stop_of_the_gateway_is_no_silence_and_what_was_counted_before_it_stays(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, 1.5 * HOUR)
    clock.advance(24 * HOUR)
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, 0.4 * HOUR)
        assert await one.told() == []
        await passes(one, clock, 0.2 * HOUR)
        assert await kinds(one) == [SILENT]
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, 9 * HOUR)
        assert await kinds(one) == [SILENT], "it was told before the restart"
        one.sources.good("legitmark")
        await passes(one, clock, 10.0)
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, 1.9 * HOUR)
        assert len(await one.told()) == 1, "something came before the restart"
        await passes(one, clock, 0.2 * HOUR)
        assert len(await one.told()) == 2


async def test_a_halt_of_the_process_is_no_silence(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        clock.advance(10 * HOUR)
        await one.troubles.step()
        assert await one.told() == []


@pytest.mark.parametrize("jump", [-48 * HOUR, 48 * HOUR])
async def test_a_jump_of_the_clock_is_no_silence(tmp_path: Path, clock: FakeClock, jump: float) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, HOUR)
        clock.jump(jump)
        await passes(one, clock, 0.9 * HOUR)
        assert await one.told() == []
        await passes(one, clock, 0.2 * HOUR)
        assert await kinds(one) == [SILENT]


async def test_a_sink_that_is_down_for_long_is_told_once_with_its_last_error(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, failing_after="1h") as one:
        one.lane.last_failure = SimpleNamespace(reason=Reason.TIMEOUT, detail="no outcome within 30 s")
        one.lane.gates.breaker.is_open = True
        await passes(one, clock, HOUR - 10)
        assert await one.told() == []
        await passes(one, clock, 5 * HOUR)
        (event,) = await one.told()
        assert (event["event_type"], event["sink"], event["reason"]) == (*FAILING, "timeout")
        assert (event["detail"], event["since"]) == ("no outcome within 30 s", "2026-02-25T06:13:20.000Z")
        (line,) = await one.lines("sink.failing")
        assert (line["sink"], line["detail"]) == ("erp", "failing for 1h: no outcome within 30 s")
        assert one.number("sink_failing", sink="erp") == 1


async def test_a_breaker_that_opens_and_closes_for_long_is_one_trouble(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, failing_after="1h") as one:
        for _ in range(20):
            one.lane.gates.breaker.is_open = True
            await passes(one, clock, 30.0)
            one.lane.gates.breaker.is_open = False
            await passes(one, clock, 300.0)
        assert await kinds(one) == [FAILING]


async def test_a_sink_that_was_quiet_for_ten_minutes_is_well_again(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, failing_after="1h") as one:
        for number in range(2):
            one.lane.gates.breaker.is_open = True
            await passes(one, clock, 1.1 * HOUR)
            one.lane.gates.breaker.is_open = False
            await passes(one, clock, 610.0)
            assert await kinds(one) == [FAILING] * (number + 1)
            assert one.number("sink_failing", sink="erp") == 0


async def test_short_troubles_hours_apart_are_not_told(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, failing_after="1h") as one:
        for _ in range(10):
            one.lane.gates.breaker.is_open = True
            await passes(one, clock, 0.9 * HOUR)
            one.lane.gates.breaker.is_open = False
            await passes(one, clock, 0.5 * HOUR)
        assert await one.told() == []


async def test_a_paused_sink_does_not_fail(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, failing_after="1h") as one:
        one.lane.gates.breaker.is_open = one.lane.gates.paused = True
        await passes(one, clock, 9 * HOUR)
        assert await one.told() == []


async def test_a_failing_sink_is_told_once_through_restarts(tmp_path: Path, clock: FakeClock) -> None:
    for number in range(4):
        async with life(tmp_path, clock, failing_after="1h") as one:
            one.lane.gates.breaker.is_open = True
            await passes(one, clock, 0.5 * HOUR)
            assert await kinds(one) == [FAILING] * (number > 0)


async def test_a_commit_whose_caller_hears_of_an_error_is_not_told_twice(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h", failing_after="2h") as one:
        one.lane.gates.breaker.is_open = True
        one.store.cut = 2
        await passes(one, clock, 4 * HOUR)
        assert await kinds(one) == [SILENT, FAILING]


async def test_what_the_store_refused_is_told_later(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h") as one:
        one.store.refused = 3
        await passes(one, clock, 2.1 * HOUR)
        assert await kinds(one) == [SILENT]


async def test_what_left_the_configuration_is_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h", failing_after="1h") as one:
        one.lane.gates.breaker.is_open = True
        await passes(one, clock, 1.5 * HOUR)
        one.troubles.use({}, {})
        await passes(one, clock, 20.0)
        assert await one.store.lasting() == []
        assert one.number("sink_failing", sink="erp") is None


async def test_without_a_route_that_asks_it_is_in_the_audit_log_and_is_not_told_later(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, silent_after="2h", routes=[Route(name="all", sinks=("mail",))]) as one:
        await passes(one, clock, 3 * HOUR)
        assert len(await one.lines("source.silent")) == 1
    async with life(tmp_path, clock, silent_after="2h") as one:
        await passes(one, clock, 3 * HOUR)
        assert await one.told() == []
