"""A list of a window of time passes by whole blocks of messages that arrived outside of it, and misses no message."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gateway.core.selection import Selection
from gateway.store import bounds
from gateway.store.sqlite import arrivals, judging, queries
from gateway.store.sqlite import connection as opening
from tests.benchmarks.large import START_MS, STEP_MS, build, fill
from tests.store.kit import accepted, new, rows, serving
from tests.store.watching import Watch

MANY = 20_000
_START = START_MS / 1000
_MIDDLE = (START_MS + MANY // 2 * STEP_MS) / 1000
WINDOWS = {
    "the end": {"since": _START + MANY - 4000},
    "the beginning": {"until": _START + 300},
    "a part": {"since": _MIDDLE, "until": _MIDDLE + 60},
    "the future": {"since": _START + 10 * MANY},
    "before the first": {"until": 1.0},
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 1,024 messages, because the table is small."""
    monkeypatch.setattr(arrivals, "BITS", 10)


@pytest.fixture(scope="module")
def set_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose clock was set back by 3000 s in the middle of the messages."""
    path = tmp_path_factory.mktemp("arrivals") / "gateway.db"
    build(path, MANY)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET received_ms = received_ms - 3000000 WHERE seq > ?", (MANY // 2,))
        connection.execute("DELETE FROM arrivals")
    return path


@pytest.fixture
def noted(set_back: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The same with all whole blocks noted."""
    path = Path(shutil.copy(set_back, tmp_path / "gateway.db"))
    with closing(sqlite3.connect(path)) as connection, connection:
        for _ in range(MANY >> arrivals.BITS):
            arrivals.note(connection, MANY)
    with closing(opening.connect_reader(path)) as reader:
        yield reader


def test_every_whole_block_is_noted_once_with_its_first_and_its_last_arrival(noted: sqlite3.Connection) -> None:
    expected = noted.execute(
        "SELECT seq >> 10, min(received_ms), max(received_ms) FROM messages WHERE seq < ? GROUP BY 1", (MANY >> 10 << 10,)
    ).fetchall()
    assert noted.execute("SELECT * FROM arrivals ORDER BY block").fetchall() == expected


@pytest.mark.parametrize("window", WINDOWS)
def test_the_pages_of_a_window_have_every_message_of_it(noted: sqlite3.Connection, window: str) -> None:
    selection = msgspec.convert(WINDOWS[window], Selection)
    watch = Watch(noted)
    found = watch.whole(lambda after: queries.messages(noted, selection, None, after, 40), 0)
    low, high = WINDOWS[window].get("since", 0.0), WINDOWS[window].get("until", 1e12)
    query = "SELECT id FROM messages WHERE received_ms >= ? AND received_ms < ? ORDER BY seq"
    assert [(one.ids.id,) for one in found] == noted.execute(query, (low * 1000, high * 1000)).fetchall()


def test_the_first_page_of_the_end_begins_where_the_end_is(noted: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BLOCKS", 4)
    page, _ = queries.messages(noted, Selection(since=_START + MANY - 3000 - 500), None, 0, 40)
    assert len(page) == 40, "otherwise a page of four blocks would have to be empty"
    noted.execute("CREATE TEMP TABLE arrivals (block, earliest_ms, latest_ms)")  # stands before the real one
    assert queries.messages(noted, Selection(since=_START + MANY - 3000 - 500), None, 0, 40)[0] == []


def test_a_purged_block_is_forgotten_and_an_empty_one_overlaps_with_no_time(set_back: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(set_back, tmp_path / "gateway.db"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        arrivals.note(connection, MANY)
        connection.execute("DELETE FROM messages WHERE seq < 2048 OR seq BETWEEN 4096 AND 5119")
        arrivals.note(connection, MANY)
        blocks = connection.execute("SELECT block, earliest_ms > latest_ms FROM arrivals ORDER BY block").fetchall()
        assert blocks[:4] == [(2, 0), (3, 0), (4, 1), (5, 0)]


async def test_a_flush_of_the_ledger_notes_the_blocks_that_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_UNFLUSHED", 100)
    monkeypatch.setattr(arrivals, "BITS", 8)
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        for number in range(256):
            await accepted(store, new(f"msg_{number}"))
        await store.commits.flush_ledger()
    assert rows(path, "SELECT block FROM arrivals") == [(0,)]


def test_messages_of_an_earlier_version_are_noted_as_the_ledger_takes_them(
    set_back: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_UNFLUSHED", 500)
    path = Path(shutil.copy(set_back, tmp_path / "gateway.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM entries")
        connection.execute("DELETE FROM requests")
        connection.execute("UPDATE ledger SET live = 0, flushed = 0")
        fill(connection)
        (number,) = connection.execute("SELECT count(*) FROM arrivals").fetchone()
    assert number == MANY >> arrivals.BITS
