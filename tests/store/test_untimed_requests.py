"""Service requests that lack a timer are found page by page through an index, and nothing is written if none is missing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.core.events import Milestone
from gateway.core.values import Duration
from gateway.core.watches import TimersPlace, Watch
from gateway.store.hot_rows import MILESTONES
from gateway.store.sqlite.untimed_requests import of_page
from gateway.store.standing_timers import milestones_of
from tests.fakes import START
from tests.store import watching
from tests.store.kit import DAY, RETENTION, accepted, one, serving
from tests.store.state_changes import event

PHOTOS = Watch("photos", ("QC",), Duration("1h"))


def test_the_milestones_are_those_of_the_states_that_a_rule_names_and_of_unknown_ones() -> None:
    def named(*states: str) -> set[Milestone]:
        return {MILESTONES[code - 1] for code in milestones_of([Watch("one", states, Duration("1h"))])}

    assert named("QC/PENDING") == {Milestone.QC_PENDING, Milestone.UNRECOGNIZED}
    assert named("QUEUE/FIRST") == {Milestone.QUEUED, Milestone.UNRECOGNIZED}
    assert named("COMPLETE", "ESCALATED") == {
        *(Milestone.AUTHENTIC, Milestone.COUNTERFEIT, Milestone.DOCUMENTED, Milestone.UNRECOGNIZED)
    }


async def test_a_page_is_found_by_the_index_of_milestones(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        for number in range(5):
            await accepted(store, event("PA"[number % 2], number, sr=f"sr-{number}"))
    with closing(sqlite3.connect(path)) as reader:
        watch, after, found = watching.Watch(reader), None, list[str]()
        for _ in range(3):
            place: TimersPlace | None = after
            keys, after = watch.page(lambda: of_page(reader, [PHOTOS], 0, place))  # noqa: B023 - it is called at once
            found += [sr for _, sr in keys]
        assert (found, after) == (["sr-0", "sr-2", "sr-4", "sr-1", "sr-3"], None)
        watch.check()
        assert watch.uses("standings_by_milestone")
        assert of_page(reader, [PHOTOS], 10**15, None) == ([], None), "a state that began too long ago is left out"


async def test_nothing_is_written_if_no_timer_is_missing(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        await accepted(store, event("P", 1))
        assert (await store.begin_timers([PHOTOS], START)).number == 1
        await store.commits.flush_ledger()
        commits: list[int] = []
        store.commits.on_commit = lambda size, seconds: commits.append(size)
        begun = await store.begin_timers([PHOTOS], START)
        while begun.after is not None:
            begun = await store.begin_timers([PHOTOS], START, begun.after)
        assert commits == []


async def test_a_request_that_stands_still_for_longer_than_retention_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        await accepted(store, event("P", 1))
        assert (await store.begin_timers([PHOTOS], START + RETENTION + DAY)).number == 0
        assert one(path, "SELECT count(*) FROM watch_timers") == 0
