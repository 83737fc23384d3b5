"""Claims: the oldest due first, bounded, and at the same cost with a million waiting (docs/design.md, "Promises", 9)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.outcome import Defer, Delivered, Reason, Reject, Retry
from gateway.core.records import Accepted, Claimed, Owed
from gateway.store.sqlite import claims, counting, queries
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import RETENTION, AnyStore, Database, accepted, fill, looking, new, serving, settlement


def nothing(claim: Claimed, next_due: float | None = None) -> bool:
    return (claim.owed, claim.more, claim.next_due) == ((), False, next_due)


MANY, FEW = 50_000, 2_000


@pytest.fixture
def path(database: Database) -> Database:
    return database


async def due_at(store: AnyStore, *instants: float, sink: str = "erp") -> list[int]:
    """Accept messages owed to a sink, due at these instants (seconds after START), in this order. Returns their seqs."""
    return [await accepted(store, new(f"{sink}_{n}_{due}", sinks=(sink,), due=START + due)) for n, due in enumerate(instants)]


def seqs(claim: Claimed) -> list[int]:
    return [owed.seq for owed in claim.owed]


async def test_a_claim_for_a_sink_without_deliveries_is_empty(path: Database) -> None:
    async with serving(path) as store:
        assert nothing(await store.claim("erp", START, 10, ()))
        await accepted(store, new("msg_1", sinks=()))
        assert nothing(await store.claim("erp", START, 10, ()))


async def test_a_claim_carries_all_that_a_lane_needs(path: Database) -> None:
    message = new("msg_1", body=b'{"a": 1}')
    async with serving(path) as store:
        seq = await accepted(store, message)
        await store.settle(settlement(seq, Retry(Reason.TIMEOUT)))
        await store.settle(settlement(seq, Defer(Reason.RATE_LIMITED, 5.0), number=2, retries=1))

        ((owed,), more, next_due) = unpack(await store.claim("erp", START + 5, 10, ()))
        assert (owed.seq, owed.sink, owed.since, owed.attempts, owed.retries) == (seq, "erp", START, 2, 1)
        assert owed.message == message.message
        assert owed.delivery_id == f"{message.message.id}-erp"
        assert (more, next_due) == (False, None)


def unpack(claim: Claimed) -> tuple[tuple[Owed, ...], bool, float | None]:
    return claim.owed, claim.more, claim.next_due


async def test_the_oldest_due_come_first_and_then_the_order_of_acceptance(path: Database) -> None:
    async with serving(path) as store:
        a, b, c, d, e = await due_at(store, 30, 10, 20, 10, 0)
        assert seqs(await store.claim("erp", START + 60, 10, ())) == [e, b, d, c, a]


async def test_a_claim_leaves_later_deliveries_and_returns_the_next_due_time(path: Database) -> None:
    async with serving(path) as store:
        first, second, _ = await due_at(store, 1, 2.5, 9)
        assert nothing(await store.claim("erp", START + 0.999, 10, ()), next_due=START + 1)
        claim = await store.claim("erp", START + 1, 10, ())
        assert (seqs(claim), claim.more, claim.next_due) == ([first], False, START + 2.5)
        claim = await store.claim("erp", START + 2.5, 10, (first,))
        assert (seqs(claim), claim.more, claim.next_due) == ([second], False, START + 9)


async def test_a_delivery_can_be_claimed_at_the_returned_due_time(path: Database) -> None:
    async with serving(path) as store:
        (seq,) = await due_at(store, 1 / 3)
        next_due = (await store.claim("erp", START, 10, ())).next_due
        assert next_due is not None
        assert seqs(await store.claim("erp", next_due, 10, ())) == [seq]


async def test_a_claim_keeps_to_its_limit_and_says_if_more_is_due(path: Database) -> None:
    async with serving(path) as store:
        waiting = await due_at(store, 0, 0, 0, 5)
        claim = await store.claim("erp", START, 2, ())
        assert (seqs(claim), claim.more, claim.next_due) == (waiting[:2], True, None)
        claim = await store.claim("erp", START, 3, ())
        assert (seqs(claim), claim.more, claim.next_due) == (waiting[:3], False, START + 5)
        claim = await store.claim("erp", START, 4, ())
        assert (seqs(claim), claim.more, claim.next_due) == (waiting[:3], False, START + 5)


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_deliveries_in_flight_are_left_out_and_do_not_count_towards_the_limit(path: Database, limit: int) -> None:
    async with serving(path) as store:
        waiting = await due_at(store, *range(8))
        claim = await store.claim("erp", START + 100, limit, frozenset(waiting[:4]))
        assert (seqs(claim), claim.more) == (waiting[4 : 4 + limit], True)
        claim = await store.claim("erp", START + 100, 8, frozenset(waiting[1:7]))
        assert (seqs(claim), claim.more, claim.next_due) == ([waiting[0], waiting[7]], False, None)
        assert nothing(await store.claim("erp", START + 100, limit, frozenset(waiting)))


async def test_deliveries_in_flight_that_are_no_longer_queued_do_not_matter(path: Database) -> None:
    async with serving(path) as store:
        (seq,) = await due_at(store, 0)
        claim = await store.claim("erp", START, 1, frozenset(range(1000, 1064)))
        assert (seqs(claim), claim.more, claim.next_due) == ([seq], False, None)


async def test_a_claim_changes_nothing_so_it_can_be_made_again(path: Database) -> None:
    async with serving(path) as store:
        await due_at(store, 0, 1, 2)
        assert await store.claim("erp", START + 9, 2, ()) == await store.claim("erp", START + 9, 2, ())
    async with serving(path) as store:
        assert len((await store.claim("erp", START + 9, 10, ())).owed) == 3


async def test_the_deliveries_of_another_sink_are_never_claimed(path: Database) -> None:
    async with serving(path) as store:
        both = await accepted(store, new("both", sinks=("erp", "erp2")))
        await due_at(store, 0, 1, sink="slack")
        claim = await store.claim("erp", START + 9, 10, ())
        assert [(owed.seq, owed.sink) for owed in claim.owed] == [(both, "erp")]
        assert (claim.more, claim.next_due) == (False, None)
        await store.settle(settlement(both, Delivered(200), sink="erp2"))
        assert seqs(await store.claim("erp", START + 9, 10, ())) == [both]
        assert nothing(await store.claim("er", START + 9, 10, ()))


async def test_a_delivery_that_has_ended_is_not_claimed_again(path: Database) -> None:
    async with serving(path) as store:
        delivered, dead, waiting = await due_at(store, 0, 0, 0)
        await store.settle(settlement(delivered, Delivered(200)))
        await store.settle(settlement(dead, Reject(Reason.HTTP_STATUS)))
        assert seqs(await store.claim("erp", START + 9, 10, ())) == [waiting]


async def test_an_acknowledged_message_is_claimable_at_once(path: Database) -> None:
    async with serving(path) as store:
        for number in range(20):
            answer = await store.accept(new(f"msg_{number}"))
            assert isinstance(answer, Accepted)
            assert seqs(await store.claim("erp", START, 1, frozenset(range(1, answer.seq)))) == [answer.seq]


async def test_the_oldest_due_of_a_sink_is_known_without_a_claim(path: Database) -> None:
    async with serving(path) as store:
        assert await store.oldest_due("erp") is None
        await due_at(store, 30, 10, 20)
        await due_at(store, 1, sink="slack")
        assert await store.oldest_due("erp") == START + 10


class TestManyWaiting:
    @pytest.fixture
    async def many(self, tmp_path: Path) -> Path:
        path = tmp_path / "many.db"
        await fill(path, MANY, sinks=("erp", "slack"))
        return path

    async def test_a_claim_walks_the_index_of_due_ones_and_sorts_nothing(self, many: Path) -> None:
        with looking(many) as connection:
            statements: list[str] = []
            connection.set_trace_callback(statements.append)
            claim = claims.claim(connection, "erp", START + MANY, 500, frozenset(range(1, 65)))
            connection.set_trace_callback(None)
            assert (seqs(claim), claim.more) == (list(range(65, 565)), True)

            plans = [plan(connection, statement) for statement in statements]
            assert [plan for plan in plans if "INDEX deliveries_due (sink=? AND behind=?)" in plan]
            for steps in plans:
                assert "TEMP B-TREE" not in steps
                assert "SCAN" not in steps

    @pytest.mark.parametrize(
        "query", [lambda c: claims.oldest_due(c, "erp"), counting.counts, lambda c: queries.messages_after(c, MANY - 5, 3)]
    )
    async def test_no_other_read_of_a_running_gateway_walks_over_all_deliveries(
        self, many: Path, query: Callable[[sqlite3.Connection], object]
    ) -> None:
        with looking(many) as connection:
            assert steps(connection, lambda: query(connection)) < 2_000

    async def test_a_claim_costs_the_same_with_few_waiting_and_with_many(self, many: Path, tmp_path: Path) -> None:
        await fill(few := tmp_path / "few.db", FEW, sinks=("erp", "slack"))
        costs = []
        for path in (few, many):
            with looking(path) as connection:
                costs.append(steps(connection, lambda: claims.claim(connection, "erp", START + MANY, 500, ())))
        assert costs[1] <= costs[0] * 1.2

    async def test_start_and_the_first_claim_read_a_small_part_of_the_file(self, many: Path) -> None:
        before = bytes_read()
        store = await SqliteStore.open(many, RETENTION)
        try:
            claim = await store.claim("erp", START + MANY, 500, ())
        finally:
            read = bytes_read() - before
            await store.close()
        assert len(claim.owed) == 500
        assert read < many.stat().st_size / 10


def plan(connection: sqlite3.Connection, statement: str) -> str:
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))


def steps(connection: sqlite3.Connection, run: Callable[[], object]) -> int:
    """Count the instructions of SQLite's virtual machine, in tens."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    connection.set_progress_handler(tick, 10)
    run()
    connection.set_progress_handler(None, 0)
    return ticks


def bytes_read() -> int:
    """Count the bytes that this process has read in its life, from the disk or from the page cache."""
    statistics = Path("/proc/self/io")
    if not statistics.exists():
        pytest.skip("only Linux tells how much a process has read")
    return int(statistics.read_text().split()[1])
