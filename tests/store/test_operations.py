"""Replay, backfill and discard of deliveries by people. The counters have to follow."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.breaker import BreakerState
from gateway.core.outcome import Delivered, Reason, Reject, Retry
from gateway.core.records import KeptGates
from gateway.core.selection import DeliveryState, Target
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, assert_counters_right, new, one, rows, run_sql, serving, settlement

_LATER = START + 500.0
_COLUMNS = "state, attempts, retries, since_ms, due_ms, ended_ms, reason, replayed"


async def reopen(store: AnyStore, *targets: Target, states: tuple[DeliveryState, ...] = ("dead",)) -> list[Target]:
    return await store.reopen(targets, states, add=False, now=_LATER, actor="ann")


async def add(store: AnyStore, *targets: Target) -> list[Target]:
    return await store.reopen(targets, (), add=True, now=_LATER, actor="ann")


async def discard(store: AnyStore, *targets: Target) -> list[Target]:
    return await store.discard(targets, now=_LATER, actor="ann")


async def message(store: AnyStore, name: str, *, sinks: tuple[str, ...] = ("erp",)) -> int:
    return await accepted(store, new(name, sinks=sinks))


async def dead(store: AnyStore, name: str) -> Target:
    seq = await message(store, name)
    assert await store.settle(settlement(seq, Retry(Reason.DNS), number=1))
    assert await store.settle(settlement(seq, Reject(Reason.REJECTED), number=2, retries=1))
    return Target(seq, "erp")


async def test_a_reopened_delivery_is_the_same_row_with_a_fresh_budget_and_its_attempts_count_on(database: Database) -> None:
    async with serving(database) as store:
        target = await dead(store, "a")
        assert await reopen(store, target) == [target]
        later = round(_LATER * 1000)
        assert rows(database, f"SELECT {_COLUMNS} FROM deliveries") == [("queued", 2, 0, later, later, None, None, 1)]
        (owed,) = (await store.claim("erp", _LATER, 9, frozenset())).owed
        assert (owed.since, owed.attempts, owed.retries) == (_LATER, 2, 0)
        assert one(database, "SELECT count(*) FROM attempts") == 2
        await assert_counters_right(store)


async def test_only_deliveries_in_the_named_states_are_reopened(database: Database) -> None:
    async with serving(database) as store:
        is_dead = await dead(store, "a")
        delivered, queued, discarded = [Target(await message(store, name), "erp") for name in "bcd"]
        await store.settle(settlement(delivered.seq, Delivered()))
        await discard(store, discarded)
        everything = (is_dead, delivered, queued, discarded, Target(999, "erp"), Target(is_dead.seq, "crm"))
        assert await reopen(store, *everything) == [is_dead]
        assert await reopen(store, *everything, states=("dead", "delivered")) == [delivered]
        await assert_counters_right(store)


async def test_a_delivery_named_twice_is_reopened_once(database: Database) -> None:
    async with serving(database) as store:
        target = await dead(store, "a")
        assert await reopen(store, target, target) == [target]
        await assert_counters_right(store)


async def test_a_delivery_is_added_once_per_message_and_sink(database: Database) -> None:
    async with serving(database) as store:
        seq = await message(store, "a")
        crm = Target(seq, "crm")
        assert await add(store, crm, crm, Target(seq, "erp")) == [crm]
        assert await add(store, crm) == []
        assert rows(database, "SELECT sink, state FROM deliveries ORDER BY sink") == [("crm", "queued"), ("erp", "queued")]
        await assert_counters_right(store)


async def test_an_unrouted_or_quarantined_message_is_accepted_once_it_owes_something(database: Database) -> None:
    async with serving(database) as store:
        unrouted = await accepted(store, new("a", status="unrouted", sinks=()))
        quarantined = await accepted(store, new("b", status="quarantined", sinks=()))
        left = await accepted(store, new("c", status="unrouted", sinks=()))
        await add(store, Target(unrouted, "erp"), Target(quarantined, "erp"))
        assert rows(database, "SELECT seq, status FROM messages ORDER BY seq") == [
            (unrouted, "accepted"),
            (quarantined, "accepted"),
            (left, "unrouted"),
        ]


async def test_add_or_reopen_adds_or_reopens_and_leaves_queued_deliveries_alone(database: Database) -> None:
    async with serving(database) as store:
        is_dead, queued = await dead(store, "a"), Target(await message(store, "b"), "erp")
        missing = Target(queued.seq, "crm")
        targets = [is_dead, queued, missing]
        changed = await store.reopen(targets, ["dead"], add=True, now=_LATER, actor="ann")
        assert sorted(changed, key=lambda target: (target.seq, target.sink)) == [is_dead, missing]
        await assert_counters_right(store)


async def test_discard_ends_only_queued_and_dead_deliveries(database: Database) -> None:
    async with serving(database) as store:
        is_dead = await dead(store, "a")
        queued, delivered = [Target(await message(store, name), "erp") for name in "bc"]
        await store.settle(settlement(delivered.seq, Delivered()))
        assert await discard(store, is_dead, queued, delivered, queued) == [is_dead, queued]
        assert await discard(store, is_dead, queued, delivered) == []
        assert rows(database, "SELECT state, due_ms FROM deliveries ORDER BY message") == [
            ("discarded", None),
            ("discarded", None),
            ("delivered", None),
        ]
        assert (await store.claim("erp", _LATER, 9, frozenset())).owed == ()
        await assert_counters_right(store)


async def test_the_outcome_of_a_delivery_that_was_discarded_in_flight_changes_nothing(database: Database) -> None:
    async with serving(database) as store:
        target = Target(await message(store, "a"), "erp")
        await discard(store, target)
        assert await store.settle(settlement(target.seq, Delivered())) is False
        assert one(database, "SELECT state FROM deliveries") == "discarded"
        await assert_counters_right(store)


async def test_due_times_beyond_the_longest_wait_are_shortened_to_it(database: Database) -> None:
    async with serving(database) as store:
        for name, due in (("a", START + 10), ("b", START + 1e6), ("c", START + 100)):
            await accepted(store, new(name, sinks=("erp", "crm"), due=due))
        await store.clamp_due("erp", START + 100)
        brought = rows(database, "SELECT due_ms - ? FROM deliveries WHERE sink = 'erp' ORDER BY message", round(START * 1000))
        assert brought == [(10_000,), (100_000,), (100_000,)]
        assert one(database, "SELECT max(due_ms) FROM deliveries WHERE sink = 'crm'") == round((START + 1e6) * 1000)


async def test_the_stored_state_of_a_lane_is_read_back_unchanged(database: Database) -> None:
    first = KeptGates(START, "ann", BreakerState(4, START + 1, START + 61, 60.0))
    async with serving(database) as store:
        await store.keep_gates("erp", KeptGates(paused_at=START, paused_by="bob"))
        await store.keep_gates("erp", first)
        await store.keep_gates("crm", KeptGates())
    async with serving(database) as store:
        assert await store.all_gates() == {"erp": first, "crm": KeptGates()}


_acts = st.lists(
    st.tuples(
        st.sampled_from(["accept", "deliver", "reject", "retry", "reopen", "redeliver", "add", "discard", "purge"]),
        st.integers(1, 8),
        st.sampled_from(["erp", "crm"]),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_acts)
def test_the_counters_always_agree_with_the_table(acts: list[tuple[str, int, str]]) -> None:
    async def play(path: Path) -> None:
        async with serving(path) as store:
            for number, (act, seq, sink) in enumerate(acts):
                target = Target(seq, sink)
                match act:
                    case "accept":
                        await message(store, f"msg_{number}", sinks=("erp", "crm")[: seq % 3])
                    case "deliver":
                        await store.settle(settlement(seq, Delivered(), sink=sink, number=number + 1))
                    case "reject":
                        await store.settle(settlement(seq, Reject(Reason.REJECTED), sink=sink, number=number + 1))
                    case "retry":
                        await store.settle(settlement(seq, Retry(Reason.DNS), sink=sink, number=number + 1))
                    case "reopen":
                        await reopen(store, target, target)
                    case "redeliver":
                        await reopen(store, target, states=("dead", "delivered"))
                    case "add" if one(path, "SELECT count(*) FROM messages WHERE seq = ?", seq):
                        await add(store, target)
                    case "discard":
                        await discard(store, target, target)
                    case "purge":
                        await store.purge(0, 3, START + 1)
                await assert_counters_right(store)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder) / "gateway.db"))


async def test_a_backfill_of_a_message_that_was_purged_meanwhile_does_not_fail(database: Database) -> None:
    """Another commit, such as the janitor's, may come between reading a page and changing it."""
    async with serving(database) as store:
        seq = await message(store, "a")
        assert await add(store, Target(seq + 1000, "crm"), Target(seq, "crm")) == [Target(seq, "crm")]
        await assert_counters_right(store)


@pytest.mark.parametrize("jump", [-3.0 * 86400, 3600.0, 1000.0 * 86400])
async def test_a_jump_of_the_wall_clock_changes_neither_age_nor_wait_and_no_row(database: Database, jump: float) -> None:
    path = database
    async with serving(path) as store:
        await accepted(store, new("m1", sinks=("erp",), due=START + 10))
        before = rows(path, "SELECT * FROM deliveries")
        store.timeline.jump(jump)
        await store.keep_time(START + jump)
        await accepted(store, new("m2", sinks=("erp",), at=START + jump + 1, due=START + jump + 11))
        assert rows(path, "SELECT * FROM deliveries WHERE message = 1") == before
    async with serving(path) as store:  # the next process goes on with the same clock
        now = START + jump
        assert (await store.claim("erp", now + 9.9, 5, ())).next_due == pytest.approx(now + 10)
        owed = (await store.claim("erp", now + 11, 5, ())).owed
        assert [one.since for one in owed] == pytest.approx([now, now + 1])
        assert await store.expired("erp", now - 0.1, 5, ()) == ()
        assert len(await store.expired("erp", now + 0.5, 5, ())) == 1
        assert await store.oldest_due("erp") == pytest.approx(now + 10)


async def test_a_clock_that_went_back_between_two_lives_delays_nothing(database: Database) -> None:
    path = database
    async with serving(path) as store:
        await accepted(store, new("m1", sinks=("erp",), due=START + 10))
        await store.keep_time(START)
    async with serving(path) as store:
        now = START - 400 * 86400.0
        store.timeline.begin(now)
        claim = await store.claim("erp", now + 10, 5, ())
        assert [one.since for one in claim.owed] == [now]


async def test_a_counter_that_is_too_low_ends_no_transaction_and_is_never_shown_below_zero(database: Database) -> None:
    path = database
    async with serving(path) as store:
        seqs = [await message(store, name) for name in ("a", "b")]
        await run_sql(store, "UPDATE counters SET queued = 0 WHERE sink = 'erp'")
        assert [await store.settle(settlement(seq, Delivered())) for seq in seqs] == [True, True]
        assert (await store.counts())["erp"].queued == 0
        await run_sql(store, "DELETE FROM counters")
        await message(store, "c")


async def test_a_replay_while_its_sink_was_away_is_no_younger_than_now_when_it_is_back(database: Database) -> None:
    async with serving(database) as store:
        target = await dead(store, "m1")

        async def noted(now: float, *present: str) -> None:
            await store.sync_sinks(present, (), now)

        await noted(START)
        await reopen(store, target)
        await noted(_LATER + 10.0, "erp")
        (owed,) = (await store.claim("erp", _LATER + 10.0, 1, ())).owed
    assert owed.since == _LATER + 10.0
