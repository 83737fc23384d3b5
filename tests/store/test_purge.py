"""Purges take finished messages older than `retention`, in slices, together with everything that belongs to them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.core.outcome import Delivered, Reason, Reject, Retry
from gateway.core.records import NewMessage, Settlement
from gateway.core.retry import Transition
from gateway.core.selection import MessageStatus, Target
from gateway.store.counted import Changes
from gateway.store.sqlite import operations
from tests.fakes import START
from tests.store.kit import (
    DAY,
    AnyStore,
    Database,
    accepted,
    assert_counters_right,
    duplicate,
    new,
    one,
    opened,
    rows,
    serving,
    settlement,
)

CUT = START + DAY
"""A message received before this instant is old."""


def discard(targets: list[Target], connection: sqlite3.Connection, changes: Changes) -> list[Target]:
    return operations.discard(connection, targets, CUT, changes)


DISCARDED = Transition(state="discarded")


@pytest.fixture
def path(database: Database) -> Database:
    return database


async def finished(store: AnyStore, message: NewMessage) -> int:
    """Accept a message and deliver it everywhere."""
    seq = await accepted(store, message)
    for sink, _ in message.deliveries:
        assert await store.settle(settlement(seq, Delivered(200), sink=sink))
    return seq


def left(path: Database) -> list[int]:
    return [seq for (seq,) in rows(path, "SELECT seq FROM messages ORDER BY seq")]


async def test_a_finished_message_is_purged_after_retention_and_not_before(path: Database) -> None:
    async with serving(path) as store:
        await finished(store, new("msg_1", at=CUT - 0.001))
        exactly = await finished(store, new("msg_2", at=CUT))
        younger = await finished(store, new("msg_3", at=CUT + 1))

        gone, _ = await store.purge(0, 100, CUT)
        assert gone == 1
        assert left(path) == [exactly, younger]
        await assert_counters_right(store)


async def test_the_purge_of_a_message_takes_its_own_rows_and_no_others(path: Database) -> None:
    tables = ("deliveries", "attempts", "conflicts")
    async with serving(path) as store:
        await finished(store, new("msg_1", body=b"one", sinks=("erp", "slack")))
        stays = await finished(store, new("msg_2", body=b"two", sinks=("erp", "slack"), at=CUT))
        for sender_id in ("msg_1", "msg_2"):
            await duplicate(store, new(sender_id, body=b"another"))
        assert [one(path, f"SELECT count(*) FROM {table}") for table in tables] == [4, 4, 2]

        await store.purge(0, 100, CUT)
        assert [one(path, f"SELECT count(*) FROM {table}") for table in tables] == [2, 2, 1]
        for table in tables:
            assert set(rows(path, f"SELECT message FROM {table}")) == {(stays,)}
        await assert_counters_right(store)


@pytest.mark.parametrize("other", ["queued", "delivered"])
async def test_a_message_with_a_queued_or_dead_delivery_is_never_purged(path: Database, other: str) -> None:
    async with serving(path) as store:
        queued = await accepted(store, new("msg_1", sinks=("erp", "slack")))
        retrying = await accepted(store, new("msg_2", sinks=("erp", "slack")))
        dead = await accepted(store, new("msg_3", sinks=("erp", "slack")))
        await store.settle(settlement(retrying, Retry(Reason.TIMEOUT)))
        await store.settle(settlement(dead, Reject(Reason.HTTP_STATUS)))
        if other == "delivered":
            for seq in (queued, retrying, dead):
                await store.settle(settlement(seq, Delivered(200), sink="slack"))

        assert await store.purge(0, 100, START + 10_000 * DAY) == (0, None)
        assert left(path) == [queued, retrying, dead]
        await assert_counters_right(store)


async def test_a_message_is_purged_after_its_deliveries_were_discarded(path: Database) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1", sinks=("erp", "slack")))
        await store.settle(settlement(seq, Delivered(200), sink="slack"))
        assert await store.purge(0, 100, CUT) == (0, None)
        await store.settle(Settlement(seq, "erp", DISCARDED, START, None))
        assert await store.purge(0, 100, CUT) == (1, None)
        await assert_counters_right(store)


@pytest.mark.parametrize("status", ["quarantined", "unrouted"])
async def test_an_old_message_that_was_never_routed_is_purged(path: Database, status: MessageStatus) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1", sinks=(), status=status))
        young = await accepted(store, new("msg_2", sinks=(), status=status, at=CUT))
        assert await store.purge(0, 100, CUT) == (1, None)
        assert left(path) == [young]


async def test_an_old_message_of_a_route_without_sinks_is_purged(path: Database) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1", sinks=()))
        assert await store.purge(0, 100, CUT) == (1, None)


class TestSlices:
    async def test_no_slice_touches_more_messages_than_asked_for(self, path: Database) -> None:
        async with serving(path) as store:
            for number in range(10):
                await finished(store, new(f"msg_{number}"))
            slices = []
            after: int | None = 0
            while after is not None:
                gone, after = await store.purge(after, 4, CUT)
                slices.append((gone, after))
            assert [gone for gone, _ in slices] == [4, 4, 2]
            assert left(path) == []
            await assert_counters_right(store)

    async def test_unfinished_old_messages_do_not_stop_the_walk(self, path: Database) -> None:
        async with serving(path) as store:
            waiting = [await accepted(store, new(f"msg_{number}")) for number in range(5)]
            old = [await finished(store, new(f"msg_{number}")) for number in range(5, 8)]
            young = await finished(store, new("msg_8", at=CUT))

            assert await store.purge(0, 3, CUT) == (0, waiting[2])
            assert await store.purge(waiting[2], 3, CUT) == (1, old[0])
            assert await store.purge(old[0], 3, CUT) == (2, young)
            assert await store.purge(young, 3, CUT) == (0, None)
            assert left(path) == [*waiting, young]
            await assert_counters_right(store)

    async def test_a_walk_ends_on_an_empty_table_and_beyond_its_end(self, path: Database) -> None:
        async with serving(path) as store:
            assert await store.purge(0, 10, CUT) == (0, None)
            seq = await finished(store, new("msg_1"))
            assert await store.purge(seq, 10, CUT) == (0, None)
            assert left(path) == [seq]

    async def test_a_walk_ends_where_the_messages_are_young(self, path: Database) -> None:
        async with serving(path) as store:
            for number in range(3):
                await finished(store, new(f"msg_{number}", at=CUT + number))
            assert await store.purge(0, 2, CUT) == (0, None)

    async def test_old_messages_after_a_slice_of_young_ones_are_purged_too(self, path: Database) -> None:
        async with serving(path) as store:
            young = [await finished(store, new(f"msg_{number}", at=CUT + number)) for number in range(7)]
            await finished(store, new("msg_8"))
            last = await finished(store, new("msg_9", at=CUT))
            after: int | None = 0
            slices = 0
            while after is not None:
                _, after = await store.purge(after, 2, CUT)
                slices += 1
            assert left(path) == [*young, last]
            assert slices == 3  # the walk skips the young ones, and does not look at them again

    async def test_a_slice_is_counted_in_rows(self, path: Database) -> None:
        sinks = tuple(f"sink{number}" for number in range(200))
        async with serving(path) as store:
            seqs = [await accepted(store, new(f"msg_{number}", sinks=sinks)) for number in range(8)]
            for seq in seqs:
                targets = [Target(seq, sink) for sink in sinks]
                await store.discard(targets, now=CUT, actor="ann")
            gone, after = await store.purge(0, 200, CUT)
            assert gone == 5 and after == seqs[4]

    async def test_a_slice_is_counted_in_pages_of_big_bodies_too(self, path: Database) -> None:
        async with serving(path) as store:
            seqs = [await finished(store, new(f"msg_{number}", body=bytes(2 * 1024 * 1024))) for number in range(5)]
            assert await store.purge(0, 200, CUT) == (2, seqs[1])
            assert await store.purge(seqs[1], 200, CUT) == (2, seqs[3])

    @pytest.mark.sqlite_only
    async def test_a_message_with_many_rows_is_purged_in_slices_and_goes_last(self, path: Path) -> None:
        async with serving(path) as store:
            before, much, behind = [await finished(store, new(f"msg_{number}")) for number in range(3)]

            def tried(connection: sqlite3.Connection, changes: Changes) -> None:
                connection.execute("UPDATE deliveries SET attempts = 2500 WHERE message = ?", (much,))
                connection.executemany(
                    "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome)"
                    " VALUES (?, 'erp', ?, 0, 7, 'defer')",
                    [(much, number) for number in range(2, 2501)],
                )
                connection.execute("UPDATE messages SET duplicates = 40 WHERE seq = ?", (much,))
                connection.executemany(
                    "INSERT INTO conflicts (message, body_sha256, received_ms, body) VALUES (?, ?, 0, x'00')",
                    [(much, b"%d" % number) for number in range(40)],
                )

            await store.change(tried)
            after: int | None = 0
            gone, seen, left_of_it = 0, [], []
            while after is not None:
                number, after = await store.purge(after, 200, CUT)
                gone += number
                seen.append(after)
                of = "WHERE message = ?"
                left_of_it.append(tuple(one(path, f"SELECT count(*) FROM {it} {of}", much) for it in ("attempts", "conflicts")))
            assert left_of_it == [(1500, 40), (500, 40), (0, 24), (0, 8), (0, 0)]
            assert seen == [before, before, before, before, None] and behind > much
            assert gone == 3 and left(path) == []
            await assert_counters_right(store)

    async def test_a_message_received_while_the_clock_was_ahead_does_not_keep_others_from_the_purge(self, path: Database) -> None:
        async with serving(path) as store:
            ahead = await finished(store, new("msg_0", at=START + 5000 * DAY))
            for number in range(1, 8):
                await finished(store, new(f"msg_{number}"))
            for _ in range(8):  # walks, a minute apart
                after: int | None = 0
                while after is not None:
                    _, after = await store.purge(after, 3, CUT)
            assert left(path) == [ahead]


async def test_a_purged_message_no_longer_makes_duplicates(path: Database) -> None:
    async with serving(path) as store:
        await finished(store, new("msg_1", identity="the event"))
        await store.purge(0, 100, CUT)
        again = new("msg_1", identity="the event")
        await accepted(store, again)
        assert (await duplicate(store, new("msg_1"))).id == again.message.id
        await assert_counters_right(store)


async def test_a_purge_shares_its_commit_with_messages_that_arrive_meanwhile(path: Database) -> None:
    async with serving(path) as store:
        for number in range(5):
            await finished(store, new(f"msg_{number}"))
    store = await opened(path, 90 * DAY)
    commits: list[int] = []
    store.commits.on_commit = lambda jobs, seconds: commits.append(jobs)
    async with asyncio.TaskGroup() as tasks:
        purged = tasks.create_task(store.purge(0, 100, CUT))
        fresh = tasks.create_task(store.accept(new("fresh", at=CUT)))
        await asyncio.sleep(0)
        store.finish()
        await store.run()
    assert purged.result() == (5, None)
    assert fresh.result()
    assert commits == [2]
    await assert_counters_right(store)
    await store.close()
