"""The ledger's rows say what the gateway knows of service requests, and which of them are open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.errors import StoreError
from gateway.core.events import Event, decode
from gateway.core.reconciliation import KnownState
from gateway.core.records import Accepted, NewMessage, message_about
from gateway.core.request_documents import OpenRequest, RequestPlace
from gateway.core.values import rfc3339
from gateway.reconcile.ledger_states import LedgerStates
from gateway.reconcile.stored_states import StoredStates
from gateway.store.requests import MOST_OPEN_IN_PAGE
from gateway.store.sqlite import filling
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.engine.reconcile_bench import uuid_of
from tests.fakes import START, FakeClock
from tests.store.kit import run_sql


class _Store(SqliteStore):
    """A store whose pages of open requests are short, and counted."""

    in_page = MOST_OPEN_IN_PAGE
    pages = 0

    async def open_requests(
        self, sources: Collection[str], after: RequestPlace | None = None, limit: int = MOST_OPEN_IN_PAGE
    ) -> tuple[list[OpenRequest], RequestPlace | None]:
        self.pages += 1
        return await super().open_requests(sources, after, self.in_page)


class _Bench:
    def __init__(self, store: _Store, clock: FakeClock) -> None:
        self.store, self._clock = store, clock
        self.states = LedgerStates(store, StoredStates(store))

    async def came(self, number: int, event_type: str, at: float, source: str = "legitmark", **fields: Any) -> None:
        """Store an event of a source as ingest does, so that the ledger judges it."""
        values = {"event_type": event_type, "sr_uuid": uuid_of(number), "reference_id": f"BAG-{number}", **fields}
        body = json.dumps(values | {"timestamp": rfc3339(START + at)}).encode()
        event = decode(body)
        assert isinstance(event, Event)
        now = self._clock.now()
        message = message_about(event, body, message_id=self._clock.new_id(), source=source, received_at=now)
        new = NewMessage(message, "unrouted", event_at=event.instant(), event=lambda: event)
        assert isinstance(await self.store.accept(new), Accepted)

    async def state(self, number: int, primary: str, supplement: str | None, at: float, source: str = "legitmark") -> None:
        await self.came(number, "state_change", at, source, state={"primary": primary, "supplement": supplement})


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[_Bench]:
    async with working(_Store, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, _):
        yield _Bench(store, clock)


async def test_the_state_of_a_request_is_that_of_its_row(bench: _Bench) -> None:
    await bench.state(1, "QC", "REJECTED", 20)
    await bench.state(1, "QC", "PENDING", 10)
    expected = KnownState(sr_uuid=uuid_of(1), reference_id="BAG-1", state="QC/REJECTED", at=START + 20)
    assert await bench.states.state("legitmark", uuid_of(1)) == expected
    assert await bench.states.state("legitmark", uuid_of(2)) is None


async def test_an_earlier_reconciliation_counts_and_another_source_does_not(bench: _Bench) -> None:
    await bench.state(1, "QC", "PENDING", 10)
    await bench.state(1, "QC", "APPROVED", 20, "reconcile")
    await bench.state(1, "COMPLETE", "APPROVED", 30, "staging")
    known = await bench.states.state("legitmark", uuid_of(1))
    assert known is not None and (known.state, known.at) == ("QC/APPROVED", START + 20)


async def test_an_invalidation_is_known(bench: _Bench) -> None:
    await bench.state(1, "QC", "PENDING", 10)
    await bench.came(1, "invalidate_sr", 20)
    known = await bench.states.state("legitmark", uuid_of(1))
    assert known is not None and known.invalidated


async def test_a_text_stands_for_requests_of_the_source(bench: _Bench) -> None:
    await bench.state(1, "QC", "PENDING", 10)
    await bench.state(2, "QC", "PENDING", 10, "staging")
    for text, uuids in {uuid_of(1): [uuid_of(1)], "bag-1": [uuid_of(1)], "BAG-2": [], "nothing": []}.items():
        assert await bench.states.named("legitmark", text) == uuids, text


async def test_open_requests_come_oldest_first_and_no_more_than_asked_for(bench: _Bench) -> None:
    for number, at in ((1, 30), (2, 10), (3, 20), (4, 5)):
        await bench.state(number, "QC", "PENDING", at)
    await bench.state(4, "COMPLETE", "APPROVED", 40)
    await bench.state(5, "CANCELLED", None, 1)
    await bench.state(6, "QC", "PENDING", 2, "staging")
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 10)] == [uuid_of(2), uuid_of(3), uuid_of(1)]
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 2)] == [uuid_of(2), uuid_of(3)]


async def test_while_an_older_database_is_read_in_nobody_says_which_requests_are_open(bench: _Bench) -> None:
    await bench.state(1, "QC", "PENDING", 30)
    await run_sql(bench.store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    await bench.store.commits.connection.run(partial(filling.reopen, ledger=bench.store.ledger))
    with pytest.raises(StoreError, match="still being read in"):
        await bench.states.open_requests("legitmark", 10)
    while not (await bench.store.fill_ledger()).complete:
        pass
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 10)] == [uuid_of(1)]


async def test_a_request_without_any_state_is_open_unless_it_was_invalidated(bench: _Bench) -> None:
    await bench.came(1, "media_rejected", 5, sides=[])
    await bench.came(2, "sr_reopened", 6)
    await bench.came(3, "invalidate_sr", 7)
    await bench.came(4, "media_rejected", 8, "staging", sides=[])
    found = await bench.states.open_requests("legitmark", 10)
    assert sorted(one.sr_uuid for one in found) == [uuid_of(1), uuid_of(2)]
    assert {(one.state, one.at) for one in found} == {(None, None)}


async def test_what_an_earlier_reconciliation_brought_counts_for_what_is_open(bench: _Bench) -> None:
    for number in (1, 2, 3):
        await bench.state(number, "QC", "PENDING", 10)
    await bench.state(1, "COMPLETE", "APPROVED", 20, "reconcile")
    await bench.state(2, "CANCELLED", None, 5, "reconcile")  # older than what the webhook told
    await bench.state(3, "QC", "APPROVED", 30, "reconcile")
    await bench.state(4, "QC", "PENDING", 40, "reconcile")  # never heard of by a webhook
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 10)] == [uuid_of(2), uuid_of(3), uuid_of(4)]


@pytest.mark.parametrize("flushed", [True, False])
async def test_open_requests_of_many_pages_are_read_to_the_end_and_no_page_beyond_what_is_asked_for(
    bench: _Bench, flushed: bool
) -> None:
    for number in range(1, 121):
        await bench.state(number, *(("QC", "PENDING") if number % 2 else ("UNDERWAY", "ASSIGNED")), -number)
    if flushed:
        await bench.store.commits.flush_ledger()
        await bench.state(7, "QC", "APPROVED", 200)
    expected = [uuid_of(number) for number in range(120, 0, -1)]
    if flushed:
        expected = [one for one in expected if one != uuid_of(7)] + [uuid_of(7)]
    bench.store.in_page = 7
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 1000)] == expected
    assert bench.store.pages == 18
    assert [one.sr_uuid for one in await bench.states.open_requests("legitmark", 9)] == expected[:9]
    assert bench.store.pages == 18 + 2
