"""The numbers on the status screen are right, and cheap to read however many deliveries wait."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from gateway.core.attention import MOST_COUNTED
from gateway.core.documents import LastFailure
from gateway.core.outcome import Delivered, Reason, Reject, Retry
from gateway.core.selection import Target
from gateway.store.sqlite import operations
from gateway.store.sqlite.migrations import Upgrade, migrate
from gateway.store.sqlite.overview import last_failures, overview, sizes
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import accepted, fill, looking, new, serving, settlement

FAILS = Retry(Reason.HTTP_STATUS, "HTTP 500", 500)


async def view(store: SqliteStore) -> Any:
    return await store.overview()


async def test_the_oldest_delivery_is_the_one_accepted_first_wherever_it_is_in_the_queue(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        assert (await view(store)).oldest == {}
        first = await accepted(store, new("a"))
        await accepted(store, new("b", at=START + 60))
        assert (await view(store)).oldest == {"erp": START}
        await store.settle(settlement(first, FAILS, at=START + 90))  # its next attempt is later than that of all others
        assert (await view(store)).oldest == {"erp": START}
        await store.settle(settlement(first, Delivered(), number=2, retries=1, at=START + 99))
        assert (await view(store)).oldest == {"erp": START + 60}


async def test_a_replay_makes_a_delivery_young_again(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        seq = await accepted(store, new("a"))
        await store.settle(settlement(seq, Reject(Reason.HTTP_STATUS, "HTTP 410", 410)))
        seen = await view(store)
        assert (seen.counts["erp"].dead, seen.oldest) == (1, {})
        await store.change(
            lambda connection, changes: operations.reopen(
                connection, changes=changes, targets=[Target(seq, "erp")], now=START + 500, states=("dead",)
            )
        )
        assert (await view(store)).oldest == {"erp": START + 500}


async def test_the_last_failure_is_found_among_the_deliveries_that_are_queued_or_dead(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        dead, waiting, made = [await accepted(store, new(name)) for name in "abc"]
        assert (await store.last_failures(["erp"])).get("erp") is None
        await store.settle(settlement(dead, Reject(Reason.HTTP_STATUS, "HTTP 410", 410), at=START + 1))
        assert (await store.last_failures(["erp"])).get("erp") == LastFailure(START + 1, "http_status", 410, "HTTP 410")
        await store.settle(settlement(waiting, FAILS, at=START + 2))
        await store.settle(settlement(made, Delivered(), at=START + 3))
        assert (await store.last_failures(["erp"])).get("erp") == LastFailure(START + 2, "http_status", 500, "HTTP 500")
        assert (await store.last_failures(["crm"])).get("crm") is None


async def test_messages_set_aside_are_counted_and_the_files_are_measured(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        await accepted(store, new("a", sinks=(), status="quarantined"))
        for name in "bc":
            await accepted(store, new(name, sinks=(), status="unrouted"))
        seen, files = await view(store), sizes(store.path)
        assert (seen.quarantined, seen.unrouted, seen.free_bytes) == (1, 2, 0)
        assert (files.database, files.wal > 0) == (store.path.stat().st_size, True)
    assert sizes(tmp_path / "nowhere.db") == type(files)(0, 0)


async def test_the_rows_that_may_be_read_are_shared_by_all_sinks(tmp_path: Path) -> None:
    """Each scrape reads the overview, and a long read would let the write-ahead log grow."""
    path, sinks = tmp_path / "gateway.db", tuple(f"sink-{number}" for number in range(200))
    await fill(path, 1000, sinks=sinks)
    with looking(path) as connection:
        steps: list[int] = []
        connection.set_progress_handler(lambda: steps.append(1), 1000)
        seen = overview(connection)
    assert seen.oldest.keys() >= set(sinks) and len(steps) < 2500, "in thousands; every entry from both ends would be 5,200"


def waiting(path: Path, number: int, *, last: int) -> int:
    """Thousands of steps of SQLite's virtual machine for an overview of so many waiting deliveries and messages set aside.

    The first message is one of those, and so is the one that is due `last`.
    """
    connection = sqlite3.connect(path)
    migrate(connection, path, Upgrade())
    connection.executescript(f"""
        BEGIN;
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
        INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, status, body)
            SELECT i, printf('%032x', i), 's', CAST(i AS BLOB), i, i, 'unrouted', x'7b7d' FROM n;
        INSERT INTO deliveries (message, sink, state, since_ms, due_ms)
            SELECT seq, 'erp', 'queued', seq, iif(seq = {last}, 9e9, seq) FROM messages;
        INSERT INTO counters VALUES ('erp', {number}, 0, 0, 0);
        COMMIT;
    """)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connection.isolation_level = None
    connection.set_progress_handler(count, 1000)
    seen = overview(connection)
    last_failures(connection, ["erp"])
    connection.close()
    assert (seen.counts["erp"].queued, seen.oldest, seen.unrouted) == (number, {"erp": 0.001}, MOST_COUNTED)
    return steps


def test_ten_times_as_many_deliveries_cost_no_more(tmp_path: Path) -> None:
    """The oldest delivery is found at both ends of the queue: before all others, or in the longest backoff."""
    few, many = waiting(tmp_path / "few.db", 20_000, last=20_000), waiting(tmp_path / "many.db", 200_000, last=1)
    assert 0 < many <= few + 5
