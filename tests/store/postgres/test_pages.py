"""Pages of messages and deliveries: the same as SQLite's, place by place, and each looks at a bounded number of rows."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.selection import Selection, Target
from gateway.store import bounds
from gateway.store.postgres import arrivals as arrivals_here
from gateway.store.postgres import named_messages as named_here
from gateway.store.postgres.connection import QUESTIONS
from gateway.store.sqlite import arrivals as arrivals_there
from gateway.store.sqlite import named_messages as named_there
from tests.benchmarks.large import START_MS, STEP_MS, build
from tests.store.kit import serving
from tests.store.postgres.kit import connected
from tests.store.postgres.twins import Twins, copied, twins
from tests.support.postgres_server import PostgresPlace, PostgresServer
from tests.support.waiting import PATIENCE, until_answer

MANY = 6000
LIMIT = 90
MOST_ROWS = 2500
"""Rows that a page may look at. There are three times as many messages, and ten times as many deliveries."""
_START = START_MS / 1000
_MIDDLE = (START_MS + MANY // 2 * STEP_MS) / 1000
_FIRST = Target(0, "")

WINDOWS = {
    "always": {},
    "the end": {"since": _START + MANY - 1200},
    "the beginning": {"until": _START + 300},
    "a part": {"since": _MIDDLE, "until": _MIDDLE + 60},
    "the future": {"since": _START + 10 * MANY},
    "before the first": {"until": 1.0},
}
STATUSES = (None, "accepted", "unrouted", "quarantined")
STATES = (None, "queued", "delivered", "dead", "discarded")
SINKS = (None, "erp", "rare", "nobody", "\0")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> tuple[Path, PostgresPlace]:
    """A database whose clock was set back by 900 s in the middle of the messages, in both engines."""
    path, place = tmp_path_factory.mktemp("large") / "gateway.db", PostgresPlace(postgres.url, "large")
    build(path, MANY)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET received_ms = received_ms - 900000 WHERE seq > ?", (MANY // 2,))
        connection.execute(
            "INSERT INTO arrivals SELECT seq >> 10, min(received_ms), max(received_ms) FROM messages WHERE seq < 4096 GROUP BY 1"
        )
        connection.execute("UPDATE messages SET milestone = NULL WHERE status = 'quarantined' OR seq % 50 = 7")
        connection.execute("UPDATE messages SET milestone = 'unrecognized' WHERE seq % 70 = 9")
        connection.execute("UPDATE deliveries SET behind = 1 WHERE state = 'queued' AND sink = 'erp' AND message % 2 = 0")
        connection.execute("UPDATE deliveries SET state = 'discarded' WHERE message % 700 = 5 AND state = 'delivered'")
        connection.execute(
            "INSERT INTO attempts SELECT message, sink, 1, ended_ms, 20, 'reject', 'http_status', 410, 'HTTP 410', 'gone'"
            " FROM deliveries WHERE state = 'dead'"
            " UNION ALL SELECT message, sink, 1, since_ms, 20, 'retry', 'timeout', NULL, '', ''"
            " FROM deliveries WHERE state = 'queued'"
        )
    asyncio.run(copied(path, place))
    return path, place


@pytest.fixture
async def both(large: tuple[Path, PostgresPlace], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Twins]:
    """The bounds are a fraction of the real ones, because the table is small."""
    for name, value in (
        *(("LOOKED_AT", 300), ("LOOKED_UP", 70), ("BLOCKS", 4), ("MOST_QUEUED", 100), ("MOST_COUNTED", 1000)),
        *(("FEW_OF_IDS", 200), ("MOST_DEAD", 50), ("NEWEST", 200)),
    ):
        monkeypatch.setattr(bounds, name, value)
    for module in (named_here, named_there):
        monkeypatch.setattr(module, "MOST_NAMED", 50)
    for module in (arrivals_here, arrivals_there):
        monkeypatch.setattr(module, "BITS", 10)  # four blocks are noted; the newest messages are not
    async with twins(*large) as made:
        yield made


def cheap(both: Twins, *tables: str) -> None:
    """Fail if a page looked at many rows, or walked through a table."""
    assert both.costs.statements
    assert both.costs.most <= MOST_ROWS, both.costs.dearest
    assert not both.costs.walked & {"messages", "deliveries", "attempts", "entries", "requests", "standings", *tables}


@pytest.mark.parametrize(("window", "status"), list(itertools.product(WINDOWS, STATUSES)))
async def test_messages(both: Twins, window: str, status: str | None) -> None:
    selection = msgspec.convert({"status": status, **WINDOWS[window]}, Selection)
    found = await both.pages(lambda store, after: store.messages(selection, None, after, LIMIT), 0)
    if status in (None, "accepted"):
        assert bool(found) == (window not in ("the future", "before the first"))
    chosen = await both.pages(lambda store, after: store.chosen(selection, None, after, LIMIT), 0)
    assert len(chosen) == len(found)
    cheap(both)
    assert ("messages_by_time" in both.costs.used) == (window != "always")
    if status in ("unrouted", "quarantined") and found:
        assert "messages_by_status" in both.costs.used


@pytest.mark.parametrize(("window", "status"), list(itertools.product(WINDOWS, STATUSES)))
@pytest.mark.parametrize("source", [None, "legitmark", "nobody"])
async def test_messages_the_newest_first(both: Twins, window: str, status: str | None, source: str | None) -> None:
    selection = msgspec.convert({"status": status, "source": source, **WINDOWS[window]}, Selection)
    await both.pages(lambda store, before: store.newest_messages(selection, None, before, LIMIT), None)
    cheap(both)


@pytest.mark.parametrize("most_counted", [100, 1000])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("state", STATES)
async def test_deliveries(
    both: Twins, monkeypatch: pytest.MonkeyPatch, most_counted: int, window: str, state: str | None
) -> None:
    monkeypatch.setattr(bounds, "MOST_COUNTED", most_counted)
    for sink in SINKS:
        selection = msgspec.convert({"state": state, "sink": sink, **WINDOWS[window]}, Selection)
        found = await both.pages(lambda store, after: store.deliveries(selection, None, after, LIMIT), _FIRST)  # noqa: B023
        if window == "always" and sink in (None, "erp"):
            assert found
    cheap(both)


@pytest.mark.parametrize("states", [("dead",), ("queued", "dead"), ("dead", "delivered"), ("queued",)])
@pytest.mark.parametrize("most_queued", [100, 40_000])
async def test_the_deliveries_of_an_act(
    both: Twins, most_queued: int, states: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_QUEUED", most_queued)
    for sink in SINKS:
        await both.pages(lambda store, after: store.targets(Selection(sink=sink), None, after, 200, states), _FIRST)  # noqa: B023
    cheap(both)


@pytest.mark.parametrize("sink", SINKS)
async def test_dead_deliveries_and_the_last_attempts_at_a_sink(both: Twins, sink: str | None) -> None:
    async def page(store: Any, before: Target | None) -> tuple[list[Any], Target | None]:
        found = await store.dead(sink, before, 1000)
        return list(found.deliveries), found.go_on_before

    assert bool(await both.pages(page, None)) == (sink in (None, "erp"))
    if sink is not None:
        found = await both.costs.page(lambda: both.postgres.last_attempts(sink, 20))
        there = await both.sqlite.last_attempts(sink, 20)
        assert [one.attempt.started_at for one in found] == [one.attempt.started_at for one in there]
        assert bool(found) == (sink in ("erp", "rare"))
    cheap(both)
    if sink is None:
        assert "deliveries_dead_by_message" in both.costs.used


@pytest.mark.parametrize(
    "text",
    [f"{MANY // 2:032x}", "msg_777", "sr-77", "BAG-77", "bag-77", "BAG-none", "0", "msg_", "sr-1", "none", "", "F", "\0", "日本"],
)
@pytest.mark.parametrize("few", [(900, 1000), (2, 1000), (900, 2)])
async def test_the_messages_of_an_id(both: Twins, text: str, few: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FEW_OF_REQUESTS", few[0])
    monkeypatch.setattr(bounds, "FEW_REQUESTS", few[1])
    for whole in (True, False):
        await both.pages(lambda store, after: store.named(text, after, whole=whole), 0)  # noqa: B023 - it is called at once
    cheap(both)


async def test_the_messages_of_an_id_are_a_selection_of_their_own(both: Twins) -> None:
    seqs = list(range(11, MANY, 90))
    selections = (Selection(), Selection(state="dead"), Selection(sink="erp", since=_START + 1000), Selection(status="unrouted"))
    for selection in selections:
        await both.pages(lambda store, after: store.messages(selection, seqs, after, 7), 0)  # noqa: B023
        await both.pages(lambda store, before: store.newest_messages(selection, seqs, before, 7), None)  # noqa: B023
        await both.pages(lambda store, after: store.deliveries(selection, seqs, after, 7), _FIRST)  # noqa: B023
    assert await both.both(lambda store: store.owed(seqs, None))
    await both.both(lambda store: store.owed(seqs[:3], "erp"))
    await both.both(lambda store: store.owed(seqs[:3], "\0"))
    await both.both(lambda store: store.attempts(seqs[0], "\0", 0, 5))
    targets = [Target(seq, sink) for seq in seqs for sink in ("erp", "nobody", "\0")]
    await both.both(lambda store: store.states(targets))
    await both.both(lambda store: store.ids(targets))
    await both.both(lambda store: store.late(targets[:40]))
    cheap(both)


async def test_the_numbers_and_a_backtest(both: Twins) -> None:
    async def routed(store: Any, after: int) -> tuple[list[Any], int | None]:
        page = await store.received_since(_MIDDLE - 400, after, 40, 20_000)
        return list(page.messages), page.go_on_after

    seen = await both.both(lambda store: store.overview())
    assert seen.oldest.keys() == {"archive", "chat", "erp", "rare"} and seen.quarantined and seen.unrouted
    sinks = ["archive", "chat", "nobody", "rare"]
    assert (await both.both(lambda store: store.last_failures(sinks))).keys() == set(sinks) - {"nobody"}
    await both.both(lambda store: store.counts())
    await both.both(lambda store: store.recount("erp"))
    await both.both(lambda store: store.count_page(100, 50))
    await both.both(lambda store: store.count_page(MANY, 50))
    for instant in (0.0, _START + 17.5, _MIDDLE, _START + 10 * MANY):
        await both.both(lambda store: store.first_since(instant))  # noqa: B023 - it is called at once
    assert await both.pages(routed, 0)
    for sink, by_sr in itertools.product(("erp", "rare", "nobody"), (True, False)):
        due = await both.both(lambda store: store.oldest_due(sink, by_sr=by_sr))  # noqa: B023 - it is called at once
        assert (due is None) == (sink == "nobody")
    cheap(both)


async def test_the_messages_that_were_not_understood(both: Twins) -> None:
    for limit, most_bytes in ((2, 10**6), (100, 1)):

        async def page(store: Any, after: int) -> tuple[list[Any], int | None]:
            found = await store.undecoded(_START, after, limit, most_bytes)  # noqa: B023 - it is called at once
            return list(found.messages), found.go_on_after

        assert await both.pages(page, 0)
    cheap(both)


async def test_a_question_that_nobody_waits_for_any_more_is_ended_and_the_next_one_is_answered(
    both: Twins, large: tuple[Path, PostgresPlace]
) -> None:
    async with connected(large[1]) as beside:

        async def sleeping() -> bool:
            return bool(await beside.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

        endless = asyncio.create_task(both.postgres.ask(lambda one: one.fetchval("SELECT pg_sleep(3600)")))
        await until_answer(sleeping, bool)
        endless.cancel()
        assert (await asyncio.wait_for(both.postgres.counts(), PATIENCE)).keys() == {"archive", "chat", "erp", "rare"}
        await until_answer(sleeping, lambda asleep: not asleep)
        with pytest.raises(asyncio.CancelledError):
            await endless


async def test_a_store_answers_people_on_a_session_that_takes_indexes_alone(large: tuple[Path, PostgresPlace]) -> None:
    async with serving(large[1]) as store:
        asked = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)"
        found = await store.ask(lambda one: one.fetch(asked, list(QUESTIONS)))
        assert {row["name"]: row["setting"] for row in found} == QUESTIONS


async def test_the_bound_is_a_small_part_of_a_walk_through_the_table(both: Twins) -> None:
    """Otherwise none of these tests could fail."""
    await both.costs.page(lambda: both.postgres.ask(lambda one: one.fetch("SELECT 1 FROM deliveries WHERE sink <> 'nobody'")))
    with pytest.raises(AssertionError):
        cheap(both)
