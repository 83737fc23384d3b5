"""A page of any question reads a bounded number of rows, by an index, and the pages together are the whole answer."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.documents import DeadDelivery
from gateway.core.selection import Selection, Target
from gateway.store import bounds
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite import dead_deliveries, named_messages, newest_first, paging, queries
from gateway.store.sqlite.overlay import Rows
from gateway.store.sqlite.overview import overview
from tests.benchmarks.large import NOTHING_IN_MEMORY, START_MS, STEP_MS, build
from tests.store.watching import MOST_STEPS, Watch

MANY = 20_000
_START = START_MS / 1000
_MIDDLE = (START_MS + MANY // 2 * STEP_MS) / 1000

WINDOWS = {
    "always": {},
    "the end": {"since": _START + MANY - 4000},
    "the beginning": {"until": _START + 300},
    "a part": {"since": _MIDDLE, "until": _MIDDLE + 60},
    "the future": {"since": _START + 10 * MANY},
    "before the first": {"until": 1.0},
}
STATUSES = (None, "accepted", "unrouted", "quarantined")
STATES = (None, "queued", "delivered", "dead", "discarded")
SINKS = (None, "erp", "rare", "nobody")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose clock was set back by 3000 s in the middle of the messages."""
    path = tmp_path_factory.mktemp("large") / "gateway.db"
    build(path, MANY)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET received_ms = received_ms - 3000000 WHERE seq > ?", (MANY // 2,))
    return path


@pytest.fixture
def most_counted() -> int:
    return 5000


@pytest.fixture
def reader(large: Path, monkeypatch: pytest.MonkeyPatch, most_counted: int) -> Iterator[sqlite3.Connection]:
    """The bounds are a twentieth of the real ones, because the table is small."""
    for module, name, value in (
        (bounds, "LOOKED_AT", 500),
        (bounds, "LOOKED_UP", 100),
        (bounds, "BLOCKS", 16),
        (bounds, "MOST_QUEUED", 400),
        (bounds, "MOST_COUNTED", most_counted),
        (named_messages, "MOST_NAMED", 50),
        (bounds, "FEW_OF_IDS", 500),
    ):
        monkeypatch.setattr(module, name, value)
    with closing(opening.connect_reader(large)) as connection:
        yield connection


@pytest.mark.parametrize(("window", "status"), list(itertools.product(WINDOWS, STATUSES)))
def test_messages(reader: sqlite3.Connection, window: str, status: str | None) -> None:
    selection = msgspec.convert({"status": status, **WINDOWS[window]}, Selection)
    watch = Watch(reader)
    found = watch.whole(lambda after: queries.messages(reader, selection, None, after, 40), 0)
    watch.check()
    where, values = _conditions(selection, "status")
    expected = reader.execute(f"SELECT m.id FROM messages m WHERE {where} ORDER BY seq", values).fetchall()
    assert [(one.ids.id,) for one in found] == expected
    chosen = watch.whole(lambda after: queries.chosen(reader, selection, None, after, 40), 0)
    assert len(chosen) == len(expected)
    watch.check()
    assert watch.uses("messages_by_time") == (window != "always")
    if status in ("unrouted", "quarantined") and expected:
        assert watch.uses("messages_by_status")


@pytest.mark.parametrize(("window", "status"), list(itertools.product(WINDOWS, STATUSES)))
@pytest.mark.parametrize("source", [None, "legitmark", "nobody"])
def test_messages_the_newest_first(reader: sqlite3.Connection, window: str, status: str | None, source: str | None) -> None:
    selection = msgspec.convert({"status": status, "source": source, **WINDOWS[window]}, Selection)
    watch = Watch(reader)
    found = watch.whole(lambda before: queries.newest_messages(reader, selection, None, before, 40), None)
    watch.check()
    where, values = _conditions(selection, "status", "source")
    expected = reader.execute(f"SELECT m.id FROM messages m WHERE {where} ORDER BY seq DESC", values).fetchall()
    assert [(one.ids.id,) for one in found] == expected
    assert watch.uses("messages_by_time") == (window != "always")


def test_the_newest_of_many_messages_of_an_id(reader: sqlite3.Connection) -> None:
    seqs = list(range(11, MANY, 400))
    watch = Watch(reader)
    found = watch.whole(lambda before: newest_first.messages(reader, Selection(), seqs, before, 7), None)
    watch.check()
    assert found == seqs[::-1]


@pytest.mark.parametrize("sink", SINKS)
def test_dead_deliveries(reader: sqlite3.Connection, sink: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_DEAD", 50)
    watch = Watch(reader)

    def page(before: Target | None) -> tuple[list[DeadDelivery], Target | None]:
        found = dead_deliveries.dead(reader, sink, before, 1000)
        return list(found.deliveries), found.go_on_before

    found = watch.whole(page, None)
    watch.check()
    query = "SELECT message, sink FROM deliveries WHERE state = 'dead' AND sink = ifnull(?, sink) ORDER BY 1 DESC, 2 DESC"
    assert [(one.seq, one.sink) for one in found] == reader.execute(query, (sink,)).fetchall()
    assert watch.uses("deliveries_dead") and (found or sink not in (None, "erp"))


@pytest.mark.parametrize("sink", SINKS[1:])
def test_the_last_attempts_at_a_sink(reader: sqlite3.Connection, sink: str) -> None:
    watch = Watch(reader)
    found, _ = watch.page(lambda: (dead_deliveries.last_attempts(reader, sink, 20), None))
    watch.check()
    times = [one.attempt.started_at for one in found]
    assert times == sorted(times, reverse=True) and len(found) <= 20


@pytest.mark.parametrize("most_counted", [400, 5000])
@pytest.mark.parametrize(("window", "state", "sink"), list(itertools.product(WINDOWS, STATES, SINKS)))
def test_deliveries(reader: sqlite3.Connection, most_counted: int, window: str, state: str | None, sink: str | None) -> None:
    selection = msgspec.convert({"state": state, "sink": sink, **WINDOWS[window]}, Selection)
    watch = Watch(reader)
    found = watch.whole(lambda after: paging.deliveries(reader, selection, None, after, 40), Target(0, ""))
    watch.page(lambda: queries.deliveries(reader, selection, None, Target(0, ""), 40))
    watch.check()
    where, values = _conditions(selection, "state", "sink")
    query = f"SELECT d.message, d.sink FROM deliveries d JOIN messages m ON m.seq = d.message WHERE {where} ORDER BY 1, 2"
    assert [(one.seq, one.sink) for one in found] == reader.execute(query, values).fetchall()
    index = {"dead": "deliveries_dead", "discarded": "deliveries_discarded", "queued": "deliveries_due"}.get(state or "")
    if index is not None and found and not (state == "queued" and _queued(reader, sink) > most_counted):
        assert watch.uses(index)


def _queued(reader: sqlite3.Connection, sink: str | None) -> int:
    (number,) = reader.execute("SELECT sum(queued) FROM counters WHERE sink = ifnull(?, sink)", (sink,)).fetchone()
    return int(number or 0)


@pytest.mark.parametrize("states", [("dead",), ("queued", "dead"), ("dead", "delivered")])
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("most_queued", [400, 40_000])
def test_the_deliveries_of_an_act(
    reader: sqlite3.Connection, most_queued: int, sink: str | None, states: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay or a discard that names no state still reads only rows that it could change, if an index can tell which."""
    monkeypatch.setattr(bounds, "MOST_QUEUED", most_queued)
    watch = Watch(reader)
    pages: list[Any] = []

    def page(after: Target) -> tuple[list[Target], Target | None]:
        pages.append(found := paging.deliveries(reader, Selection(sink=sink), None, after, 200, states))
        return found

    found = watch.whole(page, Target(0, ""))
    watch.check()
    marks = ",".join("?" * len(states))
    where, values = ("d.sink = ?", (sink,)) if sink else ("1", ())
    query = f"SELECT d.message, d.sink FROM deliveries d WHERE {where} AND d.state IN ({marks}) ORDER BY 1, 2"
    assert [(one.seq, one.sink) for one in found] == reader.execute(query, (*values, *states)).fetchall()
    if states == ("dead",):
        assert len(pages) <= len(found) // bounds.LOOKED_UP + 2, "not one for every 200 of all deliveries"


@pytest.mark.parametrize("text", [f"{MANY // 2:032x}", "msg_777", "sr-77", "BAG-77", "BAG-none", "0", "msg_", "sr-1", "none", ""])
@pytest.mark.parametrize("rows", [NOTHING_IN_MEMORY, Rows({}, False, 0)], ids=["filled", "filling"])
def test_the_messages_of_an_id(reader: sqlite3.Connection, text: str, rows: Rows) -> None:
    watch = Watch(reader)
    raw = text.encode()
    exact = watch.whole(lambda after: named_messages.exactly(reader, text, after, rows), 0)
    query = "SELECT seq FROM messages WHERE id = ?1 OR sender_id = ?2 OR sr_uuid = ?2 OR reference_id = ?2 ORDER BY seq"
    assert [(seq,) for seq in exact] == reader.execute(query, (text, raw)).fetchall()
    begun = watch.whole(lambda after: named_messages.begun(reader, text, after, rows), 0)
    query = (
        "SELECT seq FROM messages WHERE substr(id, 1, ?1) = ?2 OR substr(sender_id, 1, ?1) = ?3 OR substr(sr_uuid, 1, ?1) = ?3"
        " ORDER BY seq"
    )
    assert [(seq,) for seq in begun] == reader.execute(query, (len(raw), text, raw)).fetchall()
    watch.check()


def test_all_deliveries_of_many_messages(reader: sqlite3.Connection) -> None:
    seqs = list(range(11, MANY, 400))
    watch = Watch(reader)
    found = watch.whole(lambda after: paging.deliveries(reader, Selection(state="dead"), seqs, after, 40), Target(0, ""))
    watch.check()
    marks = ",".join(map(str, seqs))
    query = f"SELECT message, sink FROM deliveries WHERE state = 'dead' AND message IN ({marks}) ORDER BY 1, 2"
    assert [(one.seq, one.sink) for one in found] == reader.execute(query).fetchall()


def test_the_overview_and_a_backtest(reader: sqlite3.Connection) -> None:
    watch = Watch(reader)
    watch.page(lambda: (overview(reader), None))

    def routed(after: int) -> tuple[list[Any], int | None]:
        page = queries.received_since(reader, _MIDDLE, after, 40, 1024 * 1024)
        return list(page.messages), page.go_on_after

    found = watch.whole(routed, 0)
    watch.check()
    query = "SELECT id FROM messages WHERE received_ms >= ? AND status <> 'quarantined' ORDER BY seq"
    assert [(one.id,) for one in found] == reader.execute(query, (int(_MIDDLE * 1000),)).fetchall()


def test_the_bound_is_a_small_part_of_a_walk_through_the_table(reader: sqlite3.Connection) -> None:
    watch = Watch(reader)
    watch.page(lambda: (reader.execute("SELECT count(*) FROM deliveries WHERE +sink = 'nobody'").fetchall(), None))
    watch.page(lambda: (reader.execute("SELECT count(*) FROM deliveries WHERE +sink <> ''").fetchall(), None))
    assert watch.most > MOST_STEPS
    with pytest.raises(AssertionError):
        watch.check()


def _conditions(selection: Selection, *columns: str) -> tuple[str, list[object]]:
    where, values = ["1"], list[object]()
    for column in columns:
        if (value := getattr(selection, column)) is not None:
            where.append(f"{'m.' if column in ('status', 'source') else 'd.'}{column} = ?")
            values.append(value)
    for operator, instant in ((">=", selection.since), ("<", selection.until)):
        if instant is not None:
            where.append(f"received_ms {operator} ?")
            values.append(round(instant * 1000))
    return " AND ".join(where), values
