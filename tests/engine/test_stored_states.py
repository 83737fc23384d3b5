"""The state of a service request is read from the stored messages about it, whatever the order in which they came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.events import Event, decode
from gateway.core.reconciliation import KnownState
from gateway.core.records import Accepted, NewMessage, message_about
from gateway.core.values import rfc3339
from gateway.reconcile.stored_states import StoredStates
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.fakes import START, FakeClock

SR = "b16c763b-1723-455d-ba29-164418044886"
OTHER = "b16c763b-9999-455d-ba29-164418044886"


class _Bench:
    def __init__(self, store: SqliteStore, clock: FakeClock) -> None:
        self._store, self._clock = store, clock
        self.states = StoredStates(store)

    async def came(self, event_type: str, at: float | None = None, *, source: str = "legitmark", **fields: Any) -> None:
        """Store an event of a source as ingest does."""
        values = {"event_type": event_type, "sr_uuid": SR, "reference_id": "BAG-1", **fields}
        body = json.dumps(values | ({} if at is None else {"timestamp": rfc3339(START + at)})).encode()
        event = decode(body)
        assert isinstance(event, Event)
        now = self._clock.now()
        message = message_about(event, body, message_id=self._clock.new_id(), source=source, received_at=now)
        assert isinstance(await self._store.accept(NewMessage(message, "unrouted", event_at=event.instant())), Accepted)

    async def state(self, primary: str, supplement: str | None, at: float | None, **fields: Any) -> None:
        await self.came("state_change", at, state={"primary": primary, "supplement": supplement}, **fields)


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[_Bench]:
    async with working(SqliteStore, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, _):
        yield _Bench(store, clock)


async def test_the_newest_state_counts_and_not_the_last_to_arrive(bench: _Bench) -> None:
    await bench.state("QC", "PENDING", 10)
    await bench.state("COMPLETE", "APPROVED", 30)
    await bench.state("QC", "APPROVED", 20)
    expected = KnownState(sr_uuid=SR, reference_id="BAG-1", state="COMPLETE/APPROVED", at=START + 30)
    assert await bench.states.state("legitmark", SR) == expected


async def test_an_event_without_an_instant_counts_from_its_arrival(bench: _Bench, clock: FakeClock) -> None:
    await bench.state("QC", "PENDING", 10)
    clock.advance(60)
    await bench.state("QC", "REJECTED", None)
    known = await bench.states.state("legitmark", SR)
    assert known is not None and (known.state, known.at) == ("QC/REJECTED", START + 60)


async def test_an_invalidation_is_known_and_other_events_bring_no_state(bench: _Bench) -> None:
    await bench.came("media_rejected", 5, sides=[])
    assert await bench.states.state("legitmark", SR) == KnownState(sr_uuid=SR, reference_id="BAG-1")
    await bench.came("invalidate_sr", 6)
    known = await bench.states.state("legitmark", SR)
    assert known is not None and known.invalidated


async def test_an_earlier_reconciliation_counts_and_another_source_does_not(bench: _Bench) -> None:
    await bench.state("QC", "PENDING", 10)
    await bench.state("COMPLETE", "APPROVED", 20, source="staging")
    await bench.state("UNDERWAY", "ASSIGNED", 15, source="reconcile")
    known = await bench.states.state("legitmark", SR)
    assert known is not None and known.state == "UNDERWAY/ASSIGNED"


async def test_a_request_that_never_came_is_not_known(bench: _Bench) -> None:
    assert await bench.states.state("legitmark", SR) is None
    assert await bench.states.named("legitmark", SR) == []


async def test_a_text_stands_for_requests_by_uuid_beginning_and_reference(bench: _Bench) -> None:
    await bench.state("QC", "PENDING", 10)
    await bench.state("QC", "REJECTED", 20)
    await bench.state("QC", "PENDING", 10, sr_uuid=OTHER)
    await bench.state("QC", "PENDING", 10, sr_uuid="elsewhere", source="staging")
    for text, uuids in {SR: [SR], SR[:13]: [SR], "b16c763b": [SR, OTHER], "BAG-1": [SR, OTHER], "elsewhere": []}.items():
        assert await bench.states.named("legitmark", text) == uuids, text


async def test_the_last_arrival_is_one_since_an_instant_or_else_an_earlier_one(bench: _Bench, clock: FakeClock) -> None:
    assert await bench.states.last_arrival("legitmark", START) is None
    await bench.state("QC", "PENDING", 10)
    clock.advance(100)
    await bench.state("QC", "PENDING", 10, source="staging")
    assert await bench.states.last_arrival("legitmark", START + 50) == START
    clock.advance(100)
    await bench.state("QC", "REJECTED", 20)
    assert await bench.states.last_arrival("legitmark", START + 150) == START + 200
