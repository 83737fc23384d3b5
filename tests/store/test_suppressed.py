"""Deliveries that a rule suppressed: they are kept as discarded, counted, and never due."""

from __future__ import annotations

import pytest
from msgspec import structs

from gateway.core.records import Counts, NewMessage, Owes
from tests.fakes import START
from tests.store.kit import Database, accepted, assert_counters_right, counted, duplicate, new, rows, serving


def late(sender_id: str, *, sinks: tuple[str, ...] = (), suppressed: tuple[str, ...] = ("erp",)) -> NewMessage:
    coming = new(sender_id, sinks=sinks)
    return structs.replace(coming, decide=lambda facts: Owes("accepted", coming.deliveries, suppressed))


@pytest.fixture
def path(database: Database) -> Database:
    return database


async def test_a_suppressed_delivery_is_discarded_from_the_start_and_the_others_are_due(path: Database) -> None:
    async with serving(path) as store:
        await accepted(store, late("msg_1", sinks=("archive",), suppressed=("crm", "erp")))
        found = rows(path, "SELECT sink, state, attempts, due_ms IS NULL, ended_ms, reason FROM deliveries ORDER BY sink")
        ended = round(START * 1000)
        assert found == [
            ("archive", "queued", 0, 0, None, None),
            ("crm", "discarded", 0, 1, ended, "stale"),
            ("erp", "discarded", 0, 1, ended, "stale"),
        ]
        assert (await store.claim("erp", START, 10, ())).owed == ()
        assert counted(path) == {"archive": Counts(queued=1), "crm": Counts(discarded=1), "erp": Counts(discarded=1)}
        await assert_counters_right(store)


async def test_a_message_that_nobody_is_told_of_is_still_accepted(path: Database) -> None:
    async with serving(path) as store:
        await accepted(store, late("msg_1"))
        (kept,) = await store.messages_after(0, 10)
        assert (kept.status, kept.sinks, kept.suppressed) == ("accepted", (), ("erp",))


async def test_a_duplicate_suppresses_nothing(path: Database) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1", sinks=("erp",)))
        await duplicate(store, late("msg_1", suppressed=("erp", "crm")))
        assert counted(path) == {"erp": Counts(queued=1)}


async def test_more_suppressed_deliveries_than_one_statement_takes_are_all_kept(path: Database) -> None:
    sinks = tuple(f"s{number}" for number in range(150))
    async with serving(path) as store:
        await accepted(store, late("msg_1", suppressed=sinks))
        assert counted(path) == {sink: Counts(discarded=1) for sink in sinks}
