"""Whole answers about one message or one request, and lists of what people did: the same as SQLite's, whatever was kept."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.documents import LedgerProgress
from gateway.core.request_documents import RequestSelection
from gateway.core.selection import Selection, Target
from tests.store.kit import one, rows
from tests.store.postgres.twins import Twins, copied, twins
from tests.store.writing import SR, write
from tests.support.postgres_server import PostgresPlace, PostgresServer

_MORE = """
    UPDATE messages SET duplicates = 3 WHERE seq IN (4, 5);
    INSERT OR REPLACE INTO repeats VALUES (4, 1, 1772000001000, NULL), (4, 2, 1772000002000, CAST('msg_again' AS BLOB));
    INSERT OR REPLACE INTO rules (number, sha256, since_ms, snapshot) VALUES
        (7, x'07', 1772000000123, CAST('[{"name":"seven"}]' AS BLOB));
    INSERT INTO signing_keys VALUES (3, 'env SECRET');
    INSERT INTO entries (message, rules, key, signed) SELECT seq, NULL, NULL, NULL FROM messages
        WHERE seq NOT IN (SELECT message FROM entries) AND seq % 2 = 0;
    UPDATE entries SET rules = 7, key = 3, signed = CAST('1772000000 v1,c2lnbmVk' AS BLOB) WHERE message IN (4, 6);
    UPDATE entries SET rules = 7 WHERE message = 5;
    INSERT INTO joins SELECT 1, 1, 'erp', 3, 4, 0 UNION ALL SELECT 1, 2, 'erp', 5, NULL, 1;
    UPDATE deliveries SET state = 'discarded', reason = 'joined', due_ms = NULL, ended_ms = 1772000009000
        WHERE message = 4 AND sink = 'erp';
    WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 150)
        INSERT INTO acts (message, sink, at_ms, actor, claimed, act, was, becomes) SELECT 5, 'erp', 1772000000000 + n, 'ann',
        CASE n % 2 WHEN 0 THEN '田中' END, 'replay', CASE WHEN n > 1 THEN 'dead' END, 'queued' FROM n;
    WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 13)
        INSERT INTO conflicts SELECT 6, CAST(99 - n AS BLOB), NULL, 1772000000000 + n, x'ff00' FROM n;
    WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 33)
        INSERT OR REPLACE INTO attempts
            SELECT 5, 'slack', n, 1772000000000 + n, n, 'retry', 'http_status', 500 + n, 'HTTP', 'answer' FROM n;
    UPDATE timeline SET jumped_ms = 61000;
    UPDATE sinks SET away_ms = 5000 WHERE sink = 'erp';
    UPDATE counters SET queued = -4 WHERE sink = 'ends';
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> tuple[Path, PostgresPlace]:
    """A database with every kind of row."""
    path, place = tmp_path_factory.mktemp("written") / "gateway.db", PostgresPlace(postgres.url, "written")
    asyncio.run(write(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_MORE)
    asyncio.run(copied(path, place))
    return path, place


@pytest.fixture
async def both(written: tuple[Path, PostgresPlace]) -> AsyncIterator[Twins]:
    async with twins(*written) as made:
        yield made


async def test_everything_about_each_message(written: tuple[Path, PostgresPlace], both: Twins) -> None:
    last = one(written[0], "SELECT max(seq) FROM messages")
    stories = [await both.both(lambda store: store.story(seq)) for seq in range(last + 2)]  # noqa: B023 - it is called at once
    kept = [story for story in stories if story is not None]
    for some in (
        [len(story.conflicts) == 10 and story.more_conflicts for story in kept],
        [len(story.acts) == 100 for story in kept],
        [len(story.repeats) == 2 for story in kept],
        [story.signed is not None and story.rules == 7 for story in kept],
        [facts.delivery.told_by is not None for story in kept for facts in story.deliveries],
        [facts.delivery.tells is not None for story in kept for facts in story.deliveries],
        [facts.delivery.waits for story in kept for facts in story.deliveries],
        [len(facts.attempts) == 20 for story in kept for facts in story.deliveries],
    ):
        assert any(some)
    for seq in range(last + 2):
        await both.both(lambda store: store.evidence(seq))  # noqa: B023 - it is called at once
        await both.both(lambda store: store.body(seq))  # noqa: B023 - it is called at once


async def test_the_attempts_at_each_delivery(written: tuple[Path, PostgresPlace], both: Twins) -> None:
    for seq, sink in rows(written[0], "SELECT message, sink FROM deliveries"):
        for limit in (1, 7, 100):
            await both.pages(lambda store, after: store.attempts(seq, sink, after, limit), 0)  # noqa: B023 - called at once
        await both.both(lambda store: store.attempt(seq, sink, 1))  # noqa: B023 - it is called at once
    assert await both.both(lambda store: store.attempt(5, "slack", 33))
    assert await both.both(lambda store: store.attempt(5, "slack", 34)) is None


async def test_the_lists_of_messages_and_deliveries_tell_all_of_each(both: Twins) -> None:
    assert await both.pages(lambda store, after: store.messages(Selection(), None, after, 3), 0)
    assert await both.pages(lambda store, after: store.deliveries(Selection(), None, after, 3), Target(0, ""))
    assert await both.both(lambda store: store.dead(None, None, 100))
    for sink in ("erp", "slack", "ends"):
        await both.both(lambda store: store.last_attempts(sink, 5))  # noqa: B023 - it is called at once


async def test_the_request_and_its_story(both: Twins) -> None:
    requests = await both.pages(lambda store, after: store.requests(RequestSelection(), after, 1), None)
    for request, limit in itertools.product(requests, (1, 4, 100)):
        before: int | None = None
        seen = 0
        while seen == 0 or before is not None:
            story = await both.both(lambda store: store.request_story(request.number, before, limit))  # noqa: B023
            seen, before = seen + len(story.events), story.go_on_before
        assert seen
    for name in (SR, "鞄-1", "msg_plain\0署名", "msg_plain"):
        assert (await both.both(lambda store: store.find_requests(name))).requests  # noqa: B023 - it is called at once
    assert (await both.both(lambda store: store.open_requests(["legitmark"])))[0]
    assert not (await both.both(lambda store: store.find_requests("msg_plain\0\ud7ff"))).requests


async def test_the_numbers_of_a_clock_that_jumped_and_a_sink_that_was_away(both: Twins) -> None:
    seen = await both.both(lambda store: store.overview())
    assert seen.counts["ends"].queued == 0, "a counter below 0 shows as 0"
    await both.both(lambda store: store.counts())
    await both.both(lambda store: store.count_page(0, 100))
    await both.both(lambda store: store.recount("ends"))
    await both.both(lambda store: store.last_failures(["erp", "slack", "ends", "nobody"]))


async def test_the_size_is_that_of_the_tables_and_the_ledger_is_always_complete(
    written: tuple[Path, PostgresPlace], both: Twins
) -> None:
    assert both.postgres.sizes().database == 0, "nobody has looked yet"
    await both.postgres.overview()
    tables = await both.postgres.ask(lambda connection: connection.fetchval("SELECT pg_total_relation_size('messages')"))
    assert both.postgres.sizes().database > tables > 0
    last = one(written[0], "SELECT max(seq) FROM messages")
    assert await both.postgres.fill_ledger() == LedgerProgress(True, last, last)
    memory = both.postgres.ledger_memory()
    assert (memory.complete, memory.unflushed, memory.unjudged) == (True, 0, 0)


async def test_the_acts_of_people_and_the_rules(written: tuple[Path, PostgresPlace], both: Twins) -> None:
    for before in (None, 100, 1):
        await both.both(lambda store: store.acts_on_deliveries(before, 60))  # noqa: B023 - it is called at once
        await both.both(lambda store: store.acts_on_sinks(before, 60))  # noqa: B023 - it is called at once
    assert await both.both(lambda store: store.acts_on_sinks(None, 1))
    assert await both.both(lambda store: store.kept_rules(7))
    assert await both.both(lambda store: store.kept_rules(8)) is None
    for message_id, seq in rows(written[0], "SELECT id, seq FROM messages"):
        assert await both.both(lambda store: store.seq_of(message_id)) == seq  # noqa: B023 - it is called at once
    assert await both.both(lambda store: store.seq_of("no id")) is None
