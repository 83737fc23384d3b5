"""`ordering = "sr"`: claims compared with a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import NewMessage, Owed
from gateway.core.selection import Target
from gateway.store import turns
from gateway.store.postgres import ordering as postgres_ordering
from gateway.store.postgres import sink_rows as postgres_sink_rows
from gateway.store.sqlite import claims, ordering, sink_rows
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, new, serving, settlement

_OUTCOMES: dict[str, Outcome] = {"deliver": Delivered(), "reject": Reject(Reason.REJECTED), "retry": Retry(Reason.DNS)}
_numbers = itertools.count(1)


def of(sr: str | None, at: float | None, *, received: float = START, due: float | None = None) -> NewMessage:
    """An event of a service request that happened `at`, seconds after START; None: it does not say when."""
    message = new(f"msg_{next(_numbers)}", at=received, due=due)
    return msgspec.structs.replace(
        message,
        message=msgspec.structs.replace(message.message, sr_uuid=sr),
        event_at=None if at is None else START + at,
        in_order=frozenset({"erp"}),
    )


async def claimable(store: AnyStore, *, now: float = START, busy: frozenset[int] = frozenset(), limit: int = 500) -> list[int]:
    claim = await store.claim("erp", now, limit, busy, by_sr=True)
    return [owed.seq for owed in claim.owed]


async def replay(store: AnyStore, seq: int) -> None:
    await store.reopen([Target(seq, "erp")], ["dead"], add=False, now=START, actor="ann")


async def note_ordering(store: AnyStore, in_order: tuple[str, ...]) -> None:
    """Order a sink as the lanes do: bring its deliveries into order, a slice at a time, before the sink counts as ordered."""
    engine, change = (ordering, store.change) if isinstance(store, SqliteStore) else (postgres_ordering, store.commits.change)
    known: Any = sink_rows.unordered if isinstance(store, SqliteStore) else postgres_sink_rows.unordered
    look: Any = partial(known, in_order=in_order, sinks=("erp",))
    for sink in await store.read(look):
        after: turns.Place | None = turns.BEGINNING
        while after is not None:
            slice_: Any = partial(engine.bring_into_order, sink=sink, after=after, size=2)
            after = await change(slice_)
    await store.sync_sinks(("erp",), in_order, START)


async def deliver(store: AnyStore, *seqs: int) -> None:
    for seq in seqs:
        assert await store.settle(settlement(seq, Delivered()))


async def test_events_that_arrive_in_reverse_go_in_the_order_in_which_they_happened(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await accepted(store, of("a", at)) for at in (3, 2, 1)]
        for seq in reversed(seqs):
            assert await claimable(store) == [seq]
            await deliver(store, seq)
        assert await claimable(store) == []


async def test_events_of_one_instant_go_in_the_order_of_acceptance(database: Database) -> None:
    async with serving(database) as store:
        first, second = [await accepted(store, of("a", 5)) for _ in range(2)]
        assert await claimable(store) == [first]
        await deliver(store, first)
        assert await claimable(store) == [second]


async def test_one_service_request_does_not_wait_for_another(database: Database) -> None:
    async with serving(database) as store:
        first_a, _, first_b = [await accepted(store, of(sr, at)) for sr, at in (("a", 1), ("a", 2), ("b", 9))]
        assert await claimable(store) == [first_a, first_b]


async def test_without_a_service_request_there_is_no_order(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await accepted(store, of(None, at)) for at in (3, 2, 1)]
        assert await claimable(store) == seqs


async def test_an_event_without_an_instant_counts_from_its_arrival(database: Database) -> None:
    async with serving(database) as store:
        late = await accepted(store, of("a", None, received=START))
        early = await accepted(store, of("a", -60))
        assert await claimable(store) == [early]
        await deliver(store, early)
        assert await claimable(store) == [late]


async def test_an_event_that_arrives_after_a_later_one_was_delivered_goes_at_once(database: Database) -> None:
    async with serving(database) as store:
        await deliver(store, await accepted(store, of("a", 10)))
        straggler = await accepted(store, of("a", 1))
        assert await claimable(store) == [straggler]


async def test_later_events_wait_while_the_first_one_waits_for_its_retry(database: Database) -> None:
    async with serving(database) as store:
        first, _ = [await accepted(store, of("a", at)) for at in (1, 2)]
        await store.settle(settlement(first, Retry(Reason.HTTP_STATUS)))
        claim = await store.claim("erp", START + 1, 10, frozenset(), by_sr=True)
        assert claim.owed == () and claim.next_due == START + 5  # of the first; not of the second, which is due already


async def test_later_events_wait_while_the_first_one_is_in_flight(database: Database) -> None:
    async with serving(database) as store:
        first, _ = [await accepted(store, of("a", at)) for at in (1, 2)]
        assert await claimable(store, busy=frozenset({first})) == []


async def test_a_dead_or_discarded_delivery_holds_up_no_other(database: Database) -> None:
    async with serving(database) as store:
        first, second, third = [await accepted(store, of("a", at)) for at in (1, 2, 3)]
        await store.settle(settlement(first, Reject(Reason.HTTP_STATUS)))
        assert await claimable(store) == [second]
        await store.discard([Target(second, "erp")], now=START, actor="ann")
        assert await claimable(store) == [third]


async def test_a_replayed_delivery_neither_waits_nor_holds_up_others(database: Database) -> None:
    async with serving(database) as store:
        first, second, third = [await accepted(store, of("a", at)) for at in (1, 2, 3)]
        for seq in (first, third):
            await store.settle(settlement(seq, Reject(Reason.HTTP_STATUS)))
            await replay(store, seq)
        assert sorted(await claimable(store)) == [first, second, third]


async def test_a_sink_does_not_wait_for_deliveries_of_another_sink(database: Database) -> None:
    async with serving(database) as store:
        both = msgspec.structs.replace(of("a", 1), deliveries=(("erp", START), ("crm", START)))
        first = await accepted(store, both)
        second = await accepted(store, of("a", 2))
        await deliver(store, first)
        assert await claimable(store) == [second]


class _Row:
    def __init__(self, seq: int, sr: str | None, at: float, due: float) -> None:
        self.seq, self.sr, self.at, self.due = seq, sr, at, due
        self.state, self.replayed = "queued", False


def _expected(table: list[_Row], now: float, busy: frozenset[int]) -> list[int]:
    def stands_first(row: _Row) -> bool:
        if row.replayed or row.sr is None:
            return True
        open_ones = [o for o in table if o.sr == row.sr and o.state == "queued" and not o.replayed]
        return min(open_ones, key=lambda o: (o.at, o.seq)) is row

    may_go = [r for r in table if r.state == "queued" and stands_first(r) and r.seq not in busy and r.due <= now]
    return [row.seq for row in sorted(may_go, key=lambda row: (row.due, row.seq))]


_step = st.one_of(
    st.tuples(st.just("accept"), st.sampled_from(["a", "b", None]), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.sampled_from(["deliver", "reject", "retry", "replay", "discard", "look"]), st.integers(0, 30)),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_step, max_size=25), st.sets(st.integers(1, 25), max_size=3), st.integers(1, 5))
def test_exactly_the_deliveries_that_the_model_allows_can_be_claimed(
    steps: list[tuple[object, ...]], busy: set[int], limit: int
) -> None:
    async def play(path: Path) -> None:
        table: list[_Row] = []
        now = START + 2.0
        async with serving(path) as store:
            for step in steps:
                if step[0] == "accept":
                    _, sr, at, due = step
                    assert isinstance(at, int) and isinstance(due, int) and (sr is None or isinstance(sr, str))
                    seq = await accepted(store, of(sr, at, due=START + due))
                    table.append(_Row(seq, sr, at, START + due))
                elif table:
                    assert isinstance(step[1], int)
                    await change(store, str(step[0]), table[step[1] % len(table)])
                in_hand = frozenset(busy)
                claim = await store.claim("erp", now, limit, in_hand, by_sr=True)
                expected = _expected(table, now, in_hand)
                assert [owed.seq for owed in claim.owed] == expected[:limit]
                assert claim.more == (len(expected) > limit)

    async def change(store: AnyStore, what: str, row: _Row) -> None:
        target = [Target(row.seq, "erp")]
        if what in ("deliver", "reject", "retry") and row.state == "queued":
            await store.settle(settlement(row.seq, _OUTCOMES[what]))
            row.state = {"deliver": "delivered", "reject": "dead", "retry": "queued"}[what]
            row.due = START + 5 if what == "retry" else row.due
        elif what == "replay" and row.state in ("dead", "delivered"):
            await store.reopen(target, ["dead", "delivered"], add=False, now=START, actor="ann")
            row.state, row.replayed, row.due = "queued", True, START
        elif what == "discard" and row.state in ("queued", "dead"):
            await store.discard(target, now=START, actor="ann")
            row.state = "discarded"

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder) / "gateway.db"))


async def test_a_claim_in_order_hands_over_the_whole_delivery(database: Database) -> None:
    async with serving(database) as store:
        message = of("a", 1)
        seq = await accepted(store, message)
        (owed,) = (await store.claim("erp", START, 1, frozenset(), by_sr=True)).owed
        assert owed == Owed(seq, "erp", message.message, START)


async def test_waiting_deliveries_are_ordered_when_their_sink_becomes_ordered(database: Database) -> None:
    async with serving(database) as store:
        unordered = [msgspec.structs.replace(of("a", at), in_order=frozenset()) for at in (3, 2)]
        later, first = [await accepted(store, new) for new in unordered]
        lone = await accepted(store, msgspec.structs.replace(of(None, 1), in_order=frozenset()))
        assert await claimable(store) == [later, first, lone]
        await note_ordering(store, in_order=("erp",))
        earliest = await accepted(store, of("a", 1))
        assert await claimable(store) == [lone, earliest]
        await deliver(store, earliest)
        assert await claimable(store) == [first, lone]


async def test_replayed_deliveries_stay_unordered_when_their_sink_becomes_ordered(database: Database) -> None:
    async with serving(database) as store:
        first, replayed = [await accepted(store, msgspec.structs.replace(of("a", at), in_order=frozenset())) for at in (1, 2)]
        await store.settle(settlement(replayed, Reject(Reason.HTTP_STATUS)))
        await replay(store, replayed)
        await note_ordering(store, in_order=("erp",))
        assert sorted(await claimable(store)) == [first, replayed]


async def test_a_sink_that_becomes_ordered_a_second_time_is_ordered_again(database: Database) -> None:
    async with serving(database) as store:
        await note_ordering(store, in_order=("erp",))
        await note_ordering(store, in_order=())
        later, first = [await accepted(store, msgspec.structs.replace(of("a", at), in_order=frozenset())) for at in (2, 1)]
        assert await claimable(store) == [later, first]
        await note_ordering(store, in_order=("erp",))
        assert await claimable(store) == [first]


async def waiting(path: Path, number: int, per_sr: int) -> None:
    """A database of deliveries due now, except the first one of each service request, which waits for its retry."""
    async with serving(path):
        pass
    now = round(START * 1000)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, body, sr_uuid, status)"
            " VALUES (?, ?, 'legitmark', ?, ?, ?, x'7b7d', ?, 'accepted')",
            ((seq, f"{seq:032x}", b"msg_%d" % seq, now, seq, b"sr-%d" % (seq // per_sr)) for seq in range(number)),
        )
        connection.executemany(
            "INSERT INTO deliveries (message, sink, state, since_ms, due_ms, sr, event_ms, behind)"
            " VALUES (?, 'erp', 'queued', ?, ?, ?, ?, ?)",
            (
                (seq, now, now + (0 if seq % per_sr else 300_000), b"sr-%d" % (seq // per_sr), seq, seq % per_sr > 0)
                for seq in range(number)
            ),
        )
        connection.execute("INSERT INTO counters (sink, queued) VALUES ('erp', ?)", (number,))


@pytest.mark.parametrize("per_sr", [8, 200_000], ids=["many requests", "one request"])
async def test_the_cost_of_a_claim_does_not_depend_on_how_many_deliveries_wait(tmp_path: Path, per_sr: int) -> None:
    path = tmp_path / "gateway.db"
    await waiting(path, 200_000, per_sr=per_sr)
    async with serving(path) as store:

        def steps(connection: sqlite3.Connection) -> list[int]:
            counted = []
            for query in (
                partial(claims.claim, sink="erp", now=START, limit=16, busy=frozenset(), by_sr=True),
                partial(claims.claim, sink="erp", now=START, limit=16, busy=frozenset()),
                partial(claims.oldest_due, sink="erp", by_sr=True),
                partial(claims.oldest_due, sink="erp"),
                partial(claims.expired, sink="erp", before=START - 1.0, limit=100, busy=frozenset()),
                partial(claims.expired, sink="erp", before=START + 400.0, limit=16, busy=frozenset()),
                partial(claims.oldest_since, sink="erp"),
            ):
                number = 0

                def one_more() -> int:
                    nonlocal number
                    number += 1
                    return 0

                connection.set_progress_handler(one_more, 10)
                try:
                    query(connection)
                finally:
                    connection.set_progress_handler(None, 0)
                counted.append(number * 10)
            return counted

        assert max(await store.read(steps)) < 5000
        assert await claimable(store, now=START, limit=16) == []
        assert len(await claimable(store, now=START + 300.0, limit=16)) == min(200_000 // per_sr, 16)


async def test_an_empty_service_request_counts_as_absent(database: Database) -> None:
    async with serving(database) as store:
        later, earlier = [await accepted(store, of("", at)) for at in (2, 1)]
        assert await claimable(store) == [later, earlier]
