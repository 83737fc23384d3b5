"""A rule also counts for the service requests that are in its state already: after a reload, a restart, and an upgrade."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from gateway.core.values import Duration
from gateway.core.watches import SETTLE, Watch
from gateway.maintenance import stalls
from gateway.store.sqlite import untimed_requests
from tests.engine.watching_bench import HOUR, Life, life
from tests.fakes import FakeClock
from tests.store.kit import rows, run_sql

PHOTOS = Watch("photos", ("QC",), Duration("1h"))
LATER = Watch("photos", ("QC/APPROVED",), Duration("1h"))


async def after_a_minute(one: Life, clock: FakeClock) -> list[str]:
    """Let the timers begin, and return the requests that people are told about a minute later."""
    before = len(await one.told())
    await one.stalls.step()
    assert len(await one.told()) == before, "the next state may be on its way"
    clock.advance(SETTLE)
    await one.stalls.step()
    return sorted(event["sr_uuid"] for event in (await one.told())[before:])


async def enter_all(one: Life, clock: FakeClock) -> None:
    for sr, state in (("1", "QC/PENDING"), ("2", "QC/APPROVED"), ("3", "QC/SECOND_LOOK"), ("4", "COMPLETE/APPROVED")):
        await one.enter(sr, state)
    await one.enter("5")
    await one.invalidate("5")
    clock.advance(2 * HOUR)


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_rule_that_a_reload_adds_counts_for_the_requests_in_its_state(
    tmp_path: Path, clock: FakeClock, flushed: bool
) -> None:
    async with life(tmp_path, clock) as one:
        await enter_all(one, clock)
        if flushed:
            await one.store.commits.flush_ledger()
        one.stalls.use([PHOTOS])
        assert await after_a_minute(one, clock) == ["1", "2", "3"]
        (event,) = [event for event in await one.told() if event["sr_uuid"] == "1"]
        assert (event["since"], event["reference_id"]) == ("2026-02-25T06:13:20.000Z", "BAG-1")
        one.stalls.use([PHOTOS])
        assert await after_a_minute(one, clock) == [], "they were told once"


async def test_a_rule_that_gets_another_state_counts_for_the_requests_in_that_state(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        await enter_all(one, clock)
        await one.stalls.step()
        one.stalls.use([LATER])
        await one.stalls.step()
        assert rows(one.store.path, "SELECT sr FROM watch_timers") == [(b"2",)]


async def test_a_rule_that_a_restart_adds_counts_too_and_no_restart_tells_twice(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        await enter_all(one, clock)
    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        assert await after_a_minute(one, clock) == ["1", "2", "3"]
    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        assert await after_a_minute(one, clock) == []


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("by", ["reload", "restart"])
async def test_a_state_that_passed_while_no_rule_was_there_is_told_by_none_that_comes_back(
    tmp_path: Path, clock: FakeClock, by: str, flushed: bool
) -> None:
    """The last rule goes and comes back before the gateway looks for timers of rules that are gone."""

    async def move_on(one: Life) -> None:
        await one.enter("1", "COMPLETE/APPROVED")
        await one.enter("2", "QC/REJECTED")
        await one.invalidate("3")
        await one.enter("4", "QC/REJECTED", ago=60)
        await one.enter("4")
        if flushed:
            await one.store.commits.flush_ledger()

    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        for sr in "12345":
            await one.enter(sr)
        clock.advance(600.0)
        if by == "reload":
            one.inbox.use(structs.replace(one.rules, watches=()))
            one.stalls.use([])
            await move_on(one)
            one.inbox.use(structs.replace(one.rules, watches=(PHOTOS,)))
            one.stalls.use([PHOTOS])
            await one.stalls.step()
    if by == "restart":
        async with life(tmp_path, clock) as one:
            await move_on(one)
    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        await one.stalls.step()
        clock.advance(2 * HOUR)
        await one.stalls.step()
        told = {event["sr_uuid"]: (event["state"]["supplement"], event["since"]) for event in await one.told()}
        assert told == {
            "2": ("REJECTED", "2026-02-25T06:23:20.000Z"),
            "4": ("PENDING", "2026-02-25T06:23:20.000Z"),
            "5": ("PENDING", "2026-02-25T06:13:20.000Z"),
        }


async def test_a_request_that_moves_on_before_its_timer_is_due_is_not_told(tmp_path: Path, clock: FakeClock) -> None:
    async with life(tmp_path, clock) as one:
        await enter_all(one, clock)
        one.stalls.use([PHOTOS])
        one.inbox.use(structs.replace(one.rules, watches=(PHOTOS,)))
        await one.stalls.step()
        await one.enter("1", "COMPLETE/APPROVED")
        clock.advance(SETTLE)
        await one.stalls.step()
        assert sorted(event["sr_uuid"] for event in await one.told()) == ["2", "3"]


async def test_all_requests_get_their_timers_page_by_page(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untimed_requests, "PAGE", 3)
    monkeypatch.setattr(stalls, "PAGES", 2)
    async with life(tmp_path, clock) as one:
        for number in range(20):
            await one.enter(f"{number:02}", "QC/PENDING" if number % 2 else "QC/REJECTED")
        await one.store.commits.flush_ledger()
        one.stalls.use([PHOTOS])
        counts = []
        for _ in range(6):
            await one.stalls.step()
            counts.append(len(rows(one.store.path, "SELECT sr FROM watch_timers")))
        assert counts == [6, 10, 16, 20, 20, 20]


async def test_the_requests_of_an_older_database_get_their_timers_once_the_ledger_knows_them(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with life(tmp_path, clock) as one:
        await enter_all(one, clock)
    async with life(tmp_path, clock) as one:
        await run_sql(one.store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    async with life(tmp_path, clock, watches=[PHOTOS]) as one:
        assert await after_a_minute(one, clock) == []
        while not (await one.store.fill_ledger()).complete:
            pass
        assert await after_a_minute(one, clock) == ["1", "2", "3"]
