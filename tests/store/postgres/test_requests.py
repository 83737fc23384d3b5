"""Questions about service requests: the answers are SQLite's, place by place, and each looks at a bounded number of rows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from msgspec import structs

from gateway.core.events import Milestone
from gateway.core.ledger import Flag
from gateway.core.request_documents import RequestPlace, RequestSelection
from gateway.core.selection import Target
from gateway.store import bounds
from tests.benchmarks.requests.build import Built, build
from tests.store.kit import one, rows
from tests.store.postgres.twins import Twins, copied, twins
from tests.support.postgres_server import PostgresPlace, PostgresServer

STEPS = 600
"""Ten messages each, and about as many requests."""
MOST_ROWS = 3500
"""Rows that a page may look at: a fraction of those that there are."""
_SELECTIONS = {
    "all": RequestSelection(),
    "states": RequestSelection(milestones=(Milestone.QC_REJECTED, Milestone.AUTHENTIC)),
    "flag": RequestSelection(flag=Flag.ENDED_TWICE),
    "flag of none": RequestSelection(flag=Flag.UNDATED),
    "flag and state": RequestSelection(flag=Flag.DRIFT, milestones=(Milestone.DOCUMENTED,)),
    "source of none": RequestSelection(source="nobody"),
    "stalled": RequestSelection(stalled=True),
    "stalled in a state": RequestSelection(stalled=True, milestones=(Milestone.QC_REJECTED,)),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> tuple[Built, PostgresPlace]:
    made, place = build(tmp_path_factory.mktemp("many") / "store", STEPS), PostgresPlace(postgres.url, "requests")
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute("UPDATE watch_timers SET told_ms = entered_ms WHERE substr(sr, 1, 1) <> x'61'")
        connection.execute(
            "INSERT INTO watch_timers SELECT source, sr, 'other', reference_id, state, entered_ms, arrived_ms, 1"
            " FROM watch_timers WHERE told_ms IS NOT NULL LIMIT 20"
        )
        connection.execute(
            "INSERT INTO watch_timers SELECT source, sr, 'later', reference_id, state, entered_ms + 5, arrived_ms, 1"
            " FROM watch_timers WHERE rule = 'other' LIMIT 7"
        )
        connection.execute("UPDATE watch_timers SET entered_ms = entered_ms / 100000 * 100000 WHERE rule <> 'later'")
        connection.execute(
            "UPDATE requests SET reference_id = CAST('Bag-1' AS BLOB), reference = CAST('bag-1' AS BLOB)"
            " WHERE number IN (203, 204)"
        )
        connection.execute(
            "INSERT INTO requests SELECT number + 1000000, 'other', sr_uuid, NULL, NULL FROM requests WHERE number % 7 = 0"
        )
        connection.execute(
            "INSERT INTO standings SELECT request + 1000000, last, (milestone + 3) % 9, entered_ms + 77, flags, row"
            " FROM standings WHERE request % 7 = 0"
        )
    asyncio.run(copied(made.database, place))
    return made, place


@pytest.fixture
async def both(built: tuple[Built, PostgresPlace]) -> AsyncIterator[Twins]:
    made, place = built
    async with twins(made.database, place) as opened:
        yield opened


def cheap(both: Twins, most: int = MOST_ROWS) -> None:
    """Fail if a page looked at many rows, or walked through a table."""
    assert both.costs.statements
    assert both.costs.most <= most, both.costs.dearest
    assert not both.costs.walked - {"timeline"}, "of one row"


@pytest.mark.parametrize("chosen", _SELECTIONS)
@pytest.mark.parametrize("window", ["always", "a part"])
@pytest.mark.parametrize("bound", ["REQUESTS_LOOKED_AT", "FLAGGED_LOOKED_AT", "COUNTED_IN_PAGE", ""])
async def test_the_pages_of_a_list(
    built: tuple[Built, PostgresPlace], both: Twins, chosen: str, window: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = _SELECTIONS[chosen]
    if bound:
        monkeypatch.setattr(bounds, bound, 25)
    if window == "a part":
        third = (built[0].ends_ms - built[0].begins_ms) / 3000
        selection = structs.replace(selection, since=built[0].begins_ms / 1000 + third, until=built[0].ends_ms / 1000 - third)
    found = await both.pages(lambda store, after: store.requests(selection, after, 20), None)
    numbers = [known.number for known in found]
    assert len(numbers) == len(set(numbers))
    if window == "always" and not chosen.endswith("none") and chosen != "stalled in a state":
        assert found
    cheap(both)
    index = (
        "watch_timers_told" if selection.stalled else "standings_by_milestone" if selection.flag is None else "standings_flagged"
    )
    assert index in both.costs.used


async def test_a_list_goes_on_behind_an_instant_whose_request_is_gone(both: Twins) -> None:
    (told,) = {row.request.state_at_ms or 0 for row in (await both.sqlite.requests(RequestSelection(stalled=True), None, 1))[0]}
    for place in (RequestPlace(told // 100000 * 100000, 10**9), RequestPlace(told, 1), RequestPlace(-5, 0)):
        await both.both(lambda store: store.requests(RequestSelection(stalled=True), place, 7))  # noqa: B023 - called at once
        await both.both(lambda store: store.requests(RequestSelection(), place, 7))  # noqa: B023 - called at once


@pytest.mark.parametrize("sources", [("legitmark",), ("legitmark", "other"), ("nobody",), ()])
@pytest.mark.parametrize("looked_at", [30, 2000])
async def test_the_open_requests(both: Twins, sources: tuple[str, ...], looked_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "REQUESTS_LOOKED_AT", looked_at)
    found = await both.pages(lambda store, after: store.open_requests(sources, after, 20), None)
    assert bool(found) == ("legitmark" in sources)
    cheap(both)


async def test_the_names_of_requests(built: tuple[Built, PostgresPlace], both: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LOOKED_AT", 500)
    monkeypatch.setattr(bounds, "FEW_OF_REQUESTS", 1000)
    monkeypatch.setattr(bounds, "FEW_REQUESTS", 300)
    path, number = built[0].database, built[0].requests // 2
    ((uuid, reference, last),) = rows(
        path, "SELECT sr_uuid, reference_id, last FROM requests JOIN standings ON request = number WHERE number = ?", number
    )
    ((message_id, sender_id),) = rows(path, "SELECT id, sender_id FROM messages WHERE seq = ?", last)
    for name in (
        *(uuid.decode(), uuid.decode().upper(), uuid.decode()[:6].upper(), uuid.decode()[:4], uuid.decode()[:1]),
        *(reference.decode().lower(), f" {reference.decode()} ", "BAG-1", f"OTHER-{513:07}", f"other-{513:07}"),
        *(message_id, message_id[:12], message_id.upper(), sender_id.decode(), sender_id.decode()[:7]),
        *(f"{reference.decode()[:-1]}x", reference.decode()[:-2], "zzzz", "", "\0", "日本", "ＢＡＧ-1", "n/a"),
    ):
        await both.both(lambda store: store.find_requests(name))  # noqa: B023 - it is called at once
        for whole in (True, False):
            await both.pages(lambda store, after: store.named(name, after, whole=whole), 0)  # noqa: B023 - it is called at once
    assert (await both.postgres.find_requests(uuid.decode())).requests
    cheap(both)


async def test_the_stories_of_requests(built: tuple[Built, PostgresPlace], both: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    crowded, seen = built[0].requests, 0
    before: int | None = None
    while seen == 0 or before is not None:
        story = await both.both(lambda store: store.request_story(crowded, before))  # noqa: B023 - it is called at once
        seen, before = seen + len(story.events), story.go_on_before
    assert seen == 300
    for number in (*range(1, built[0].requests, 37), 10**9):
        await both.both(lambda store: store.request_story(number))  # noqa: B023 - it is called at once
    monkeypatch.setattr(bounds, "MOST_DELIVERIES", 7)
    assert len((await both.both(lambda store: store.request_story(crowded))).events) < 10
    cheap(both)


async def test_the_lateness_of_deliveries(built: tuple[Built, PostgresPlace], both: Twins) -> None:
    last = one(built[0].database, "SELECT max(seq) FROM messages")
    targets = [Target(seq, sink) for seq in range(1, last, 41) for sink in ("erp", "desk", "nobody")]
    found = await both.both(lambda store: store.late(targets))
    assert set(found) == {True, False}
    assert not both.costs.walked
