"""Questions about service requests read a bounded number of rows by an index, and the pages of a list are the whole list."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from gateway.core.events import Event, Milestone, decode
from gateway.core.judge import judge
from gateway.core.ledger import Flag
from gateway.core.packed_rows import unpack_request
from gateway.core.request_documents import KnownRequest, RequestPlace, RequestSelection
from gateway.core.selection import Target
from gateway.store import bounds
from gateway.store.columns import STANDING, standing_of
from gateway.store.hot_rows import Key, Standing
from gateway.store.request_answers import fitting
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite import heard_newer, named_messages, request_questions, request_rows, request_stories
from gateway.store.sqlite.overlay import Rows
from gateway.store.sqlite.request_lookup import chain
from tests.benchmarks.requests.build import Built, build
from tests.store.watching import MOST_STEPS, Watch

STEPS = 1000
"""Ten messages each, and about as many requests."""
_OF = "requests r JOIN standings s ON s.request = r.number"
MOVED = 40
"""Rows in memory that say something newer than the file."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    made = build(tmp_path_factory.mktemp("many") / "store", STEPS)
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute("UPDATE watch_timers SET told_ms = entered_ms WHERE substr(sr, 1, 1) <> x'61'")
        connection.execute(
            "INSERT INTO watch_timers SELECT source, sr, 'other', reference_id, state, entered_ms, arrived_ms, 1"
            " FROM watch_timers WHERE told_ms IS NOT NULL LIMIT 20"
        )
        connection.execute(
            "INSERT INTO watch_timers SELECT source, sr_uuid, 'waits', NULL, x'61', entered_ms, entered_ms, NULL FROM requests"
            " JOIN standings ON request = number"
        )
        connection.execute(
            "UPDATE requests SET reference_id = 'Bag-1', reference = CAST('bag-1' AS BLOB) WHERE number IN (203, 204)"
        )
    return made


@pytest.fixture
def reader(built: Built) -> Iterator[sqlite3.Connection]:
    with closing(opening.connect_reader(built.database)) as connection:
        yield connection


@pytest.fixture(params=["flushed", "in memory"])
def rows(request: pytest.FixtureRequest, reader: sqlite3.Connection) -> Rows:
    if request.param == "flushed":
        return Rows({}, True, 0)
    query = f"SELECT r.source, r.sr_uuid, {STANDING} FROM {_OF} ORDER BY number % 97, number LIMIT ?"
    kept = {(row[0], row[1].decode()): standing_of(row[2:]) for row in reader.execute(query, (MOVED,))}
    return Rows(
        {key: structs.replace(row, _entered_ms=row.columns.entered_ms + 86_400_000) for key, row in kept.items()}, True, 0
    )


def standings(reader: sqlite3.Connection, rows: Rows) -> dict[Key, Standing]:
    """Read every row as a question has to see it."""
    query = f"SELECT r.source, r.sr_uuid, {STANDING} FROM {_OF}"
    return {(row[0], row[1].decode()): standing_of(row[2:]) for row in reader.execute(query)} | rows.unflushed


def checked(watch: Watch) -> None:
    """Fail if a query walked through a table."""
    assert watch.most <= MOST_STEPS
    tables = "messages|deliveries|attempts|m|d|requests|r|standings|s|entries|e|watch_timers|loose_references"
    for text in watch.asked:
        plan = watch.plan(text)
        walked = [step for step in plan if re.match(rf"SCAN ({tables})\b", step)]
        # The oldest message of all is the first of such a walk.
        assert walked == [] or text.endswith("FROM messages ORDER BY seq LIMIT 1"), f"{plan} for {text}"


def whole(watch: Watch, reader: sqlite3.Connection, selection: RequestSelection, rows: Rows) -> list[KnownRequest]:
    def page(after: RequestPlace | None) -> tuple[list[KnownRequest], RequestPlace | None]:
        return request_questions.requests(reader, selection, after, 7, rows)

    return watch.whole(page, None)


@pytest.mark.parametrize(
    "selection",
    [
        RequestSelection(),
        RequestSelection(milestones=(Milestone.QC_REJECTED, Milestone.AUTHENTIC)),
        RequestSelection(flag=Flag.ENDED_TWICE),
        RequestSelection(flag=Flag.UNDATED),
        RequestSelection(flag=Flag.DRIFT, milestones=(Milestone.DOCUMENTED,)),
        RequestSelection(source="nobody"),
    ],
    ids=["all", "states", "flag", "flag of none", "flag and state", "source of none"],
)
@pytest.mark.parametrize("window", ["always", "a part"])
def test_the_pages_of_a_list_are_the_whole_list(
    built: Built,
    reader: sqlite3.Connection,
    rows: Rows,
    selection: RequestSelection,
    window: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "REQUESTS_LOOKED_AT", 50)
    if window == "a part":
        third = (built.ends_ms - built.begins_ms) / 3000
        selection = structs.replace(selection, since=built.begins_ms / 1000 + third, until=built.ends_ms / 1000 - third)
    watch = Watch(reader)
    found = whole(watch, reader, selection, rows)
    checked(watch)
    fits = fitting(selection)
    since, until = (selection.since or 0) * 1000, (selection.until or 1e12) * 1000
    expected = sorted(
        ((row.columns.entered_ms, row.number) for key, row in standings(reader, rows).items() if fits(key, row.columns)),
        reverse=True,
    )
    assert [one.number for one in found] == [number for entered_ms, number in expected if since <= entered_ms < until]
    assert watch.uses("standings_by_milestone" if selection.flag is None else "standings_flagged")


def test_flagged_requests_that_do_not_fit_are_passed_by_in_the_index(reader: sqlite3.Connection) -> None:
    """A list of a flag that nobody has reads as few rows as there are."""
    watch = Watch(reader)
    assert whole(watch, reader, RequestSelection(flag=Flag.FUTURE), Rows({}, True, 0)) == []
    checked(watch)
    (text,) = (text for text in watch.asked if "s.flags &" in text)
    codes = [row[1] for row in reader.execute(f"EXPLAIN {text}")]
    assert "DeferredSeek" in codes, "SQLite looks for the row only once the entry of the index fits"


def test_a_page_of_a_rare_flag_looks_at_few_entries_and_says_where_to_go_on(
    reader: sqlite3.Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = 30
    monkeypatch.setattr(bounds, "FLAGGED_LOOKED_AT", some)
    selection = RequestSelection(flag=Flag.ENDED_TWICE)
    expected = {row.number for row in standings(reader, rows).values() if row.columns.flags & Flag.ENDED_TWICE}
    watch, pages = Watch(reader), 0
    found: list[int] = []
    after: RequestPlace | None = None
    while pages == 0 or after is not None:
        page, after = watch.page(partial(request_questions.requests, reader, selection, after, 100, rows))
        found += [one.number for one in page]
        pages += 1
    checked(watch)
    assert sorted(found) == sorted(expected)
    (flagged,) = reader.execute("SELECT count(*) FROM standings WHERE flags <> 0").fetchone()
    assert pages >= flagged // some


def test_the_stalled_ones_are_listed_once_each_and_only_those_of_the_page_are_read(
    reader: sqlite3.Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    truly = request_rows.read

    def counted(connection: sqlite3.Connection, keys: Collection[Key]) -> dict[Key, Standing]:
        read.append(len(keys))
        return truly(connection, keys)

    monkeypatch.setattr(request_rows, "read", counted)
    watch = Watch(reader)
    found = whole(watch, reader, RequestSelection(stalled=True), rows)
    checked(watch)
    told = {
        (source, sr.decode()) for source, sr in reader.execute("SELECT source, sr FROM watch_timers WHERE told_ms IS NOT NULL")
    }
    assert len(told) > 20
    assert sorted((one.source, one.sr_uuid) for one in found) == sorted(told)
    assert watch.uses("watch_timers_told")
    assert max(read) <= 7


def test_however_many_people_were_told_of_the_pages_have_them_all(
    reader: sqlite3.Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "REQUESTS_LOOKED_AT", 5)
    watch, pages = Watch(reader), 0
    found: list[int] = []
    after: RequestPlace | None = None
    while pages == 0 or after is not None:
        page, after = watch.page(partial(request_questions.requests, reader, RequestSelection(stalled=True), after, 100, rows))
        assert len(page) <= 5
        found += [one.number for one in page]
        pages += 1
    checked(watch)
    (told,) = reader.execute("SELECT count(DISTINCT sr) FROM watch_timers WHERE told_ms IS NOT NULL").fetchone()
    assert len(found) == len(set(found)) == told and pages > told / 5 - 1


def test_stalled_requests_of_one_instant_are_listed_one_after_the_other(tmp_path: Path, built: Built) -> None:
    path, stalled, rows = tmp_path / "gateway.db", RequestSelection(stalled=True), Rows({}, True, 0)
    shutil.copy(built.database, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE watch_timers SET entered_ms = 1 WHERE told_ms IS NOT NULL")
    with closing(opening.connect_reader(path)) as connection:
        (told,) = connection.execute("SELECT count(DISTINCT sr) FROM watch_timers WHERE told_ms IS NOT NULL").fetchone()
        numbers = [one.number for one in whole(Watch(connection), connection, stalled, rows)]
        assert len(numbers) == len(set(numbers)) == told
        gone = RequestPlace(1, 10**9)
        assert request_questions.requests(connection, stalled, gone, 7, rows) == ([], None), "it goes on behind that instant"


def test_the_stalled_ones_come_in_the_order_in_which_their_state_began(reader: sqlite3.Connection) -> None:
    found = whole(Watch(reader), reader, RequestSelection(stalled=True), Rows({}, True, 0))
    entered = [one.request.state_at_ms or 0 for one in found]
    assert entered == sorted(entered, reverse=True)


@pytest.mark.parametrize(
    "name", ["uuid", "beginning", "reference", "shared", "loose", "message", "sender", "nothing", "none-near"]
)
def test_a_name_is_looked_up_by_an_index(built: Built, reader: sqlite3.Connection, rows: Rows, name: str) -> None:
    number = built.requests // 2
    uuid, reference, last = reader.execute(
        "SELECT sr_uuid, reference_id, last FROM requests JOIN standings ON request = number WHERE number = ?", (number,)
    ).fetchone()
    message_id, sender_id = reader.execute("SELECT id, sender_id FROM messages WHERE seq = ?", (last,)).fetchone()
    said = {
        "uuid": uuid.decode(),
        "beginning": uuid.decode()[:6].upper(),
        "reference": reference.decode().lower(),
        "shared": "BAG-1",
        "loose": f"OTHER-{513:07}",
        "message": message_id,
        "sender": sender_id.decode(),
        "nothing": f"{reference.decode()[:-1]}x",
        "none-near": "zzzz",
    }[name]
    watch = Watch(reader)
    found, _ = watch.page(lambda: (request_questions.find(reader, said, rows), None))
    checked(watch)
    if name in ("nothing", "none-near"):
        assert found.requests == () and bool(found.nearest) == (name == "nothing")
    elif name == "loose":
        assert [one.number for one in found.requests] == [513]
    elif name == "shared":
        assert len(found.requests) > 1
    else:
        assert [one.number for one in found.requests] == [number]


def test_a_story_and_the_lateness_of_a_day_are_read_by_an_index(built: Built, reader: sqlite3.Connection, rows: Rows) -> None:
    watch = Watch(reader)
    number, seen = built.requests, 0
    before: int | None = None
    while seen == 0 or before is not None:
        begin = before
        story, _ = watch.page(lambda: (request_stories.story(reader, number, begin, 100, rows), None))  # noqa: B023 - called at once
        seen, before = seen + len(story.events), story.go_on_before
    assert seen == 300
    targets = [Target(seq, "erp") for (seq,) in reader.execute("SELECT message FROM entries ORDER BY message LIMIT 200")]
    watch.page(lambda: (heard_newer.late(reader, targets, rows), None))
    checked(watch)


def test_a_beginning_of_very_many_requests_is_found_by_a_walk_whose_pages_are_bounded(
    reader: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LOOKED_AT", 500)
    rows = Rows({}, True, 0)
    expected = [seq for (seq,) in reader.execute("SELECT seq FROM messages WHERE substr(sr_uuid, 1, 1) = x'61' ORDER BY seq")]
    found = []
    for few_requests, few_messages in ((10, 4000), (1000, 100), (1000, 4000)):
        monkeypatch.setattr(bounds, "FEW_REQUESTS", few_requests)
        monkeypatch.setattr(bounds, "FEW_OF_REQUESTS", few_messages)
        watch = Watch(reader)
        found.append(watch.whole(lambda after: named_messages.begun(reader, "a", after, rows), 0))
        assert watch.most <= MOST_STEPS
    assert found == [expected] * 3


def test_the_rows_of_the_store_are_those_that_judging_its_messages_gives(reader: sqlite3.Connection) -> None:
    """Otherwise the benchmark would ask about a store that no gateway writes."""
    begun = reader.execute("SELECT request, last, row FROM standings WHERE request % 37 = 0 AND request > 60").fetchall()
    for number, last, kept in begun:
        row = None
        for seq in reversed(chain(reader, last, 1000)):
            body, received_ms = reader.execute("SELECT body, received_ms FROM messages WHERE seq = ?", (seq,)).fetchone()
            event = decode(body)
            assert isinstance(event, Event)
            _, row = judge(row, event, received_ms / 1000)
        assert row == unpack_request(kept), number


@pytest.mark.parametrize("stalled", [True, False])
def test_a_page_of_requests_with_many_messages_is_short(
    reader: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, stalled: bool
) -> None:
    selection = RequestSelection(stalled=stalled, milestones=(Milestone.QC_REJECTED,))
    rows = Rows({}, True, 0)
    monkeypatch.setattr(bounds, "COUNTED_IN_PAGE", 1_000_000)
    (all_of_them, none) = request_questions.requests(reader, selection, None, 100, rows)
    assert none is None and len(all_of_them) > 5
    monkeypatch.setattr(bounds, "COUNTED_IN_PAGE", 25)
    page, after = request_questions.requests(reader, selection, None, 100, rows)
    counted = [min(one.request.events, 256) for one in page]
    assert after is not None and sum(counted) >= 25 > sum(counted[:-1])
    assert whole(Watch(reader), reader, selection, rows) == all_of_them
