"""The story of a message is bounded, whatever happened to it; what it leaves out is found in pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store.bounds import MOST_ATTEMPTS, MOST_CONFLICTS
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite import queries
from tests.benchmarks.large import START_MS, build
from tests.store.watching import Watch

ATTEMPTS = 10_000
CONFLICTS = 3000
SINKS = 200
STORIED = 1
"""The message to which everything happened."""


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A message with 10,000 attempts at one delivery, 20 at each of 200 others, and 3,000 duplicates with other bodies."""
    path = tmp_path_factory.mktemp("stories") / "gateway.db"
    build(path, 100)
    numbers = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
    attempt = "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, reason, status, detail, answer)"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM attempts WHERE message = ?", (STORIED,))
        connection.execute("UPDATE deliveries SET attempts = 0 WHERE message = ?", (STORIED,))
        sinks = [("erp", ATTEMPTS), *((f"sink-{number:03}", 20) for number in range(SINKS))]
        for sink, attempts in sinks:
            connection.execute(
                "INSERT INTO deliveries (message, sink, state, attempts, since_ms, ended_ms) VALUES (?, ?, 'delivered', ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET attempts = excluded.attempts",
                (STORIED, sink, attempts, START_MS, START_MS),
            )
            connection.execute(
                f"{numbers} {attempt} SELECT ?, ?, n, ? + n, 1, 'retry', 'timeout', NULL, 'no answer', ? FROM n",
                (attempts, STORIED, sink, START_MS, "x" * 300),
            )
        connection.execute(
            f"{numbers} INSERT INTO conflicts (message, body_sha256, received_ms, body)"
            " SELECT ?, randomblob(32), ? + n, zeroblob(2000) FROM n",
            (CONFLICTS, STORIED, START_MS),
        )
    return path


@pytest.fixture
def reader(eventful: Path) -> Iterator[sqlite3.Connection]:
    with closing(opening.connect_reader(eventful)) as connection:
        yield connection


def test_a_story_has_the_last_attempts_and_some_conflicts_and_says_that_there_are_more(reader: sqlite3.Connection) -> None:
    watch = Watch(reader)
    story, _ = watch.page(lambda: (queries.story(reader, STORIED), None))
    watch.check()
    (delivery,) = [one for one in story.deliveries if one.delivery.sink == "erp"]
    assert delivery.delivery.attempts == ATTEMPTS
    assert [one.number for one in delivery.attempts] == list(range(ATTEMPTS - MOST_ATTEMPTS + 1, ATTEMPTS + 1))
    assert len([one for one in story.deliveries if len(one.attempts) == 20]) == SINKS + 1
    assert len(story.conflicts) == MOST_CONFLICTS and story.more_conflicts
    other = queries.story(reader, STORIED + 1)
    assert other is not None and other.conflicts == () and not other.more_conflicts


@pytest.mark.parametrize("limit", [1, 77, 500, ATTEMPTS])
def test_the_pages_of_attempts_hold_each_once_in_order_and_end(limit: int, reader: sqlite3.Connection) -> None:
    watch = Watch(reader)

    def page(after: int) -> tuple[list[Any], int | None]:
        return queries.attempts(reader, STORIED, "erp", after, limit)

    found = watch.whole(page, ATTEMPTS - 1500 if limit == 1 else 0)
    assert [one.number for one in found] == list(range(ATTEMPTS - 1500 + 1 if limit == 1 else 1, ATTEMPTS + 1))
    if limit < ATTEMPTS:
        watch.check()


def test_a_delivery_that_is_not_there_has_no_attempts(reader: sqlite3.Connection) -> None:
    assert queries.attempts(reader, STORIED, "nowhere", 0, 100) == ([], None)
    assert queries.attempts(reader, 10**9, "erp", 0, 100) == ([], None)
