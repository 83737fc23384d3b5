"""Timers, troubles and known words: written with the message that brings or tells them, and read after a restart."""

from __future__ import annotations

import itertools

import pytest
from msgspec import structs

from gateway.core.drift import MOST_KNOWN, DriftKind, Learned
from gateway.core.errors import StoreError
from gateway.core.lasting import Lasting
from gateway.core.records import Companion, NewMessage
from gateway.core.values import Duration
from gateway.core.watches import Entered, Entering, StallsTold, Timer, Watch, entering
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, duplicate, new, one, raising, rows, serving

QC = Watch("qc", ("QC/PENDING",), Duration("4h"))
LONG = Watch("long", ("QC",), Duration("8h"), Duration("1h"))
HOUR = 3600.0
_numbers = itertools.count(1)


def entered(sr: str = "sr-1", state: str = "QC/PENDING", *, at: float = START, arrived: float | None = None) -> Entered:
    return Entered("legitmark", sr, "BAG-1", state, at, at if arrived is None else arrived)


def begun(one: Entered, *watches: Watch) -> Entering:
    found = entering(watches or (QC, LONG), one)
    assert found is not None
    return found


def with_it(*companions: Companion) -> NewMessage:
    return structs.replace(new(f"msg_{next(_numbers)}"), companions=companions)


async def enter(store: AnyStore, one: Entered, *watches: Watch) -> None:
    await accepted(store, with_it(begun(one, *watches)))


async def due(store: AnyStore, hours: float, *watches: Watch) -> list[tuple[str, str]]:
    found = await store.due_timers(watches or (QC, LONG), START + hours * HOUR, 100)
    return [(timer.rule, timer.entered.sr_uuid) for timer in found]


@pytest.fixture
def path(database: Database) -> Database:
    return database


async def test_a_timer_begins_with_its_message_and_is_due_after_a_restart_at_the_instant_of_its_rule(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered())
    async with serving(path) as store:
        assert await due(store, 3.999) == []
        assert await due(store, 4) == [("qc", "sr-1")]
        assert await due(store, 8) == [("qc", "sr-1"), ("long", "sr-1")]
        (timer, _) = await store.due_timers((QC, LONG), START + 8 * HOUR, 100)
        assert timer == Timer("qc", entered())


async def test_a_timer_is_not_due_within_a_minute_of_the_arrival(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered(arrived=START + 9 * HOUR))
        assert await due(store, 9 + 59 / 3600, QC) == []
        assert await due(store, 9 + 60 / 3600, QC) == [("qc", "sr-1")]


async def test_the_next_state_ends_the_timers_of_the_one_before_and_begins_its_own(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered())
        await enter(store, entered("sr-2"))
        await enter(store, entered(state="QC/REJECTED", at=START + HOUR))
        assert await due(store, 24) == [("qc", "sr-2"), ("long", "sr-2"), ("long", "sr-1")]
        await enter(store, entered("sr-2", "UNDERWAY/PENDING", at=START + HOUR))
        assert await due(store, 24) == [("long", "sr-1")]


async def test_of_several_states_in_one_commit_the_last_one_counts(path: Database) -> None:
    async with serving(path) as store:
        first, second = begun(entered()), begun(entered(state="QC/REJECTED", at=START + 1))
        await accepted(store, with_it(first, second))
        assert await due(store, 24) == [("long", "sr-1")]


async def test_a_duplicate_begins_and_ends_nothing(path: Database) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1"))
        await duplicate(store, structs.replace(new("msg_1"), companions=(begun(entered()),)))
        assert await due(store, 24) == []


async def test_a_timer_begins_only_if_its_message_is_committed(path: Database) -> None:
    async with serving(path) as store:
        with pytest.raises(StoreError):
            await store.accept(structs.replace(new(raising(StoreError("no"))), companions=(begun(entered()),)))
        assert await due(store, 24) == []


async def test_a_timer_that_was_told_is_due_again_only_if_its_rule_says_so_and_after_its_time(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered())
        timers = tuple(await store.due_timers((QC, LONG), START + 9 * HOUR, 100))
        await accepted(store, with_it(StallsTold(timers, START + 9 * HOUR)))
        assert await store.stalled((QC, LONG), 10) == {"qc": 1, "long": 1}
    async with serving(path) as store:
        assert await due(store, 9.99) == []
        assert await due(store, 10) == [("long", "sr-1")]
        assert await due(store, 1000, QC) == []


async def test_a_timer_that_began_anew_meanwhile_is_not_marked_as_told(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered(), QC)
        told = StallsTold(tuple(await store.due_timers((QC,), START + 5 * HOUR, 100)), START + 5 * HOUR)
        await enter(store, entered(at=START + HOUR), QC)
        await store.keep([told])
        assert await due(store, 5, QC) == [("qc", "sr-1")]


async def test_many_requests_are_told_in_one_commit(path: Database) -> None:
    async with serving(path) as store:
        await store.keep([begun(entered(f"sr-{number}"), QC) for number in range(300)])
        timers = await store.due_timers((QC,), START + 5 * HOUR, 250)
        assert len(timers) == 250
        await store.keep([StallsTold(tuple(timers), START)])
        assert await store.stalled((QC,), 1000) == {"qc": 250}
        assert await store.stalled((QC,), 100) == {"qc": 100}


async def test_timers_of_rules_that_are_gone_or_watch_another_state_are_dropped(path: Database) -> None:
    async with serving(path) as store:
        for number in range(600):
            await store.keep([begun(entered(f"sr-{number}"))])
        assert await store.drop_timers((QC, structs.replace(LONG, states=("QC/REJECTED",)))) == 600
        assert {rule for (rule,) in rows(path, "SELECT DISTINCT rule FROM watch_timers")} == {"qc"}
        assert await store.drop_timers((QC,)) == 0
        assert await store.drop_timers(()) == 600


async def test_another_time_of_a_rule_counts_for_the_timers_that_are_there(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered())
        assert await due(store, 2, structs.replace(QC, after=Duration("1h"))) == [("qc", "sr-1")]
        assert await due(store, 24, structs.replace(QC, after=Duration("2d"))) == []


async def test_old_timers_that_were_told_are_purged(path: Database) -> None:
    async with serving(path) as store:
        await enter(store, entered(), QC)
        await enter(store, entered("sr-2"), QC)
        (timer, _) = await store.due_timers((QC,), START + 5 * HOUR, 100)
        await store.keep([StallsTold((timer,), START)])
        await store.purge_told(["qc"], START)
        assert one(path, "SELECT count(*) FROM watch_timers") == 2
        await store.purge_told(["qc"], START + 1)
        assert [sr for (sr,) in rows(path, "SELECT sr FROM watch_timers")] == [b"sr-2"]


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
async def test_a_jump_of_the_clock_moves_timers_along(path: Database, jump: float) -> None:
    async with serving(path) as store:
        await enter(store, entered())
        store.shift_clock(jump)
        assert await due(store, 3.9 + jump / HOUR, QC) == []
        assert await due(store, 4 + jump / HOUR, QC) == [("qc", "sr-1")]
        timers = await store.due_timers((QC,), START + 4 * HOUR + jump, 10)
        await store.keep([StallsTold(tuple(timers), START + 4 * HOUR + jump)])
        assert await store.stalled((QC,), 10) == {"qc": 1}
        await enter(store, entered("sr-2", at=START + jump), QC)
        assert await due(store, 4 + jump / HOUR, QC) == [("qc", "sr-2")]


async def test_texts_of_the_sender_survive(path: Database) -> None:
    sr = "品\0\u202e"
    async with serving(path) as store:
        await enter(store, structs.replace(entered(sr), reference_id=None), QC)
        (timer,) = await store.due_timers((QC,), START + 5 * HOUR, 10)
        assert (timer.entered.sr_uuid, timer.entered.reference_id) == (sr, None)


async def test_a_trouble_is_remembered_until_it_ends(path: Database) -> None:
    silent, failing = Lasting("source_silent", "legitmark", 120.0), Lasting("sink_failing", "erp", 60.5, told=True)
    async with serving(path) as store:
        await store.keep([silent, failing])
    async with serving(path) as store:
        assert sorted(await store.lasting(), key=lambda one: one.kind) == [failing, silent]
        await store.keep([silent.goes_on(60), failing.ended()])
        assert await store.lasting() == [Lasting("source_silent", "legitmark", 180.0)]


async def test_at_most_a_thousand_words_of_a_source_and_kind_are_known(path: Database) -> None:
    def learned(number: int, kind: DriftKind = "reason", source: str = "legitmark") -> Learned:
        return Learned(source, kind, f"理由 {number}", START)

    async with serving(path) as store:
        await store.keep([learned(number) for number in range(MOST_KNOWN + 20)])
        await store.keep([learned(1), learned(MOST_KNOWN + 30, "field"), learned(MOST_KNOWN + 30, source="other")])
    async with serving(path) as store:
        known = await store.known_words()
        assert {key: len(values) for key, values in known.items()} == {
            ("legitmark", "reason"): MOST_KNOWN,
            ("legitmark", "field"): 1,
            ("other", "reason"): 1,
        }
        assert "理由 999" in known["legitmark", "reason"]
