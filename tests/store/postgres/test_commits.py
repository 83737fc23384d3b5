"""Commits under fire: connections that break around a COMMIT, servers that die, nodes that get in each other's way."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import StoreError, StoreLocked
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Duplicate, Stored
from gateway.store.base import Audit
from gateway.store.postgres.connection import Server
from gateway.store.postgres.store import PostgresStore
from tests.fakes import START
from tests.store.kit import RETENTION, accepted, new, one, rows, settlement
from tests.store.postgres.kit import no_jitter
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.postgres_server import PostgresPlace, postgres_server
from tests.support.waiting import until_answer


class Log:
    """An audit log in memory."""

    written_to = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.marks: list[int] = []

    def write_now(self, lines: Any) -> Any:
        self.lines += lines
        return ()

    def add(self, lines: Any) -> None:
        self.lines += lines

    def mark(self, mark: int) -> None:
        self.marks.append(mark)


@asynccontextmanager
async def node(
    place: PostgresPlace, name: str, *, boot: str = "1", audit: Audit | None = None, told: Any = lambda event, **facts: None
) -> AsyncIterator[PostgresStore]:
    """Run a node on a database."""
    store = await PostgresStore.open(
        Server(place.url, place.schema), RETENTION, node=name, boot=boot, version="1", jitter=no_jitter, audit=audit, told=told
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        try:
            yield store
        finally:
            store.finish()
    await store.close()


def line_of(stored: Stored) -> list[bytes]:
    return [b"accepted %d" % stored.seq] if isinstance(stored, Accepted) else [b"duplicate"]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_connection_that_breaks_around_a_commit_leaves_no_doubt(postgres_place: PostgresPlace, cut: Cut) -> None:
    proxy, log = CuttingProxy(postgres_place.url), Log()
    async with proxy.running(), node(PostgresPlace(proxy.url, postgres_place.schema), "gw1", audit=log) as store:
        await accepted(store, new("first"))
        stored: asyncio.Future[Stored | Exception] = asyncio.get_running_loop().create_future()
        proxy.cut = cut
        store.submit(new("second"), stored.set_result, line_of)
        answer = await stored
        assert proxy.cuts == 1
        there = one(postgres_place, "SELECT count(*) FROM messages") - 1
        if cut == "after":
            assert (answer, there) == (Accepted(2), 1)
            assert log.lines == [b"accepted 2"]
        else:
            assert isinstance(answer, StoreError) and there == 0
            assert log.lines == []
        again = await store.accept(new("second"))
        assert isinstance(again, Duplicate if cut == "after" else Accepted)


async def test_a_commit_stays_unclear_until_the_server_is_back_and_its_lines_are_written_then(
    postgres_place: PostgresPlace,
) -> None:
    proxy, log = CuttingProxy(postgres_place.url), Log()
    async with proxy.running(), node(PostgresPlace(proxy.url, postgres_place.schema), "gw1", audit=log) as store:
        await accepted(store, new("first"))
        stored: asyncio.Future[Stored | Exception] = asyncio.get_running_loop().create_future()
        proxy.cut, proxy.stays_down = "after", True
        store.submit(new("second"), stored.set_result, line_of)
        assert isinstance(await stored, StoreError)
        assert isinstance(await _stored(store), StoreError) and store.trouble is not None
        assert log.lines == []
        proxy.stays_down = False
        again = await until_answer(lambda: _stored(store), lambda told: not isinstance(told, StoreError))
        assert isinstance(again, Duplicate)
        assert log.lines == [b"accepted 2"] and store.trouble is None


async def _stored(store: PostgresStore) -> Stored | StoreError:
    try:
        return await store.accept(new("second"))
    except StoreError as error:
        return error


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_again_and_again() -> None:
    with postgres_server() as server:
        place = PostgresPlace(server.url, "gateway")
        acknowledged: list[str] = []
        async with node(place, "gw1") as store:
            for _ in range(3):

                async def send(number: int) -> None:
                    message = new(f"msg_{number}")
                    try:
                        if isinstance(await store.accept(message), Accepted):
                            acknowledged.append(message.message.id)
                    except StoreError:
                        return

                async with asyncio.TaskGroup() as tasks:
                    for number in range(len(acknowledged), len(acknowledged) + 200):
                        tasks.create_task(send(number))
                    await until_answer(lambda: asyncio.sleep(0, len(acknowledged)), lambda number: number > 0)
                    await asyncio.to_thread(server.stop, signal.SIGKILL)
                server.start()
                await until_answer(lambda: _stored(store), lambda told: not isinstance(told, StoreError))
        kept = {row[0] for row in rows(place, "SELECT id FROM messages")}
        assert acknowledged and set(acknowledged) <= kept


async def test_commits_that_went_back_are_told(postgres_place: PostgresPlace) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    async with node(postgres_place, "gw1", told=lambda event, **facts: told.append((event, facts))) as store:
        for number in range(3):
            await accepted(store, new(f"msg_{number}"))
        assert told == []
        connection = await asyncpg.connect(postgres_place.url)
        await connection.execute(f"UPDATE {postgres_place.schema}.nodes SET commits = commits - 2")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway writer'"
        )
        await connection.close()
        await until_answer(lambda: _stored(store), lambda answer: not isinstance(answer, StoreError))
        assert told == [("store.lost", {"expected": 3, "found": 1})]


async def test_crossed_identities_at_two_nodes_are_each_accepted_once(postgres_place: PostgresPlace) -> None:
    async with node(postgres_place, "gw1") as one_node, node(postgres_place, "gw2") as other:
        for turn in range(8):
            # The same events in opposite orders: their unique keys deadlock, and each is tried again alone.
            events = [new(f"msg_{turn}_{number}", identity=f"event {turn} {(number * 7) % 20}") for number in range(20)]
            copies = [new(f"msg_{turn}_{number}", identity=f"event {turn} {(number * 7) % 20}") for number in reversed(range(20))]
            answers = await asyncio.gather(*map(one_node.accept, events), *map(other.accept, copies))
            assert sum(isinstance(answer, Accepted) for answer in answers) == 20
            assert sum(isinstance(answer, Duplicate) for answer in answers) == 20
        assert one(postgres_place, "SELECT count(*) FROM deliveries") == 160
        assert (await other.counts())["erp"].queued == 160


async def test_a_delivery_counts_at_the_node_that_settles_it(postgres_place: PostgresPlace) -> None:
    async with node(postgres_place, "gw1") as one_node, node(postgres_place, "gw2") as other:
        seq = await accepted(one_node, new("msg_1"))
        assert [owed.seq for owed in (await other.claim("erp", START, 5, ())).owed] == [seq]
        assert await other.settle(settlement(seq, Delivered())) is True
        assert await one_node.settle(settlement(seq, Delivered())) is False
        assert rows(postgres_place, "SELECT node, queued, delivered FROM counters ORDER BY node") == [(1, 1, 0), (2, -1, 1)]
        counts = (await one_node.counts())["erp"]
        assert (counts.queued, counts.delivered) == (0, 1)


async def test_the_next_life_knows_how_the_last_one_ended(postgres_place: PostgresPlace) -> None:
    async with node(postgres_place, "gw1") as store:
        assert not store.after_unclean_end
    async with node(postgres_place, "gw1", boot="2") as store:
        assert not store.after_unclean_end
        with pytest.raises(StoreLocked, match="gw1"):
            async with node(postgres_place, "gw1", boot="3"):
                pass  # that one is alive, so no other life may begin
