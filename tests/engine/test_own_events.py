"""The gateway's own events go to the routes that ask for them; they tell people what went wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.errors import StoreError
from gateway.core.outcome import Reason, Reject
from gateway.core.patterns import compile_pattern
from gateway.core.records import Attempt, Message, NewMessage, Owed
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.ingest.accept import Rules
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.source_watch import ENOUGH, NONE_GOOD, SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.observability.unsealed import SealHead
from gateway.store.base import Lines, Told
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.fakes import START, FakeClock, own_events_for
from tests.store.kit import rows

_ROUTES = [Route(name="told", sinks=("mail", "chat"), sources=("gateway",))]


class _Store(SqliteStore):
    refused = 0

    def submit(self, new: NewMessage, told: Told, lines: Lines[Any] | None = None) -> None:
        if self.refused > 0:
            self.refused -= 1
            told(StoreError("the disk is full"))
        else:
            super().submit(new, told, lines)


class _Bench:
    def __init__(self, store: _Store, audit: AuditLog, clock: FakeClock) -> None:
        self.store, self.audit, self.clock = store, audit, clock
        self.offered: list[tuple[Owed, float]] = []
        self.own_events = self.routed(_ROUTES)

    def routed(self, routes: list[Route]) -> OwnEvents:
        rules = Rules(router=Router(routes), policies={"mail": RetryPolicy(), "chat": RetryPolicy()})
        self.own_events = own_events_for(
            self.store, self.audit, self.clock, rules, lambda owed, due: self.offered.append((owed, due))
        )
        return self.own_events

    async def told(self) -> list[dict[str, Any]]:
        """The bodies of the notices that were stored."""
        kept = rows(self.store.path, "SELECT body, source FROM messages ORDER BY seq")
        assert all(source == "gateway" for _, source in kept)
        return [json.loads(body) for body, _ in kept]

    async def dead(self, sink: str = "erp", source: str = "legitmark") -> None:
        message = Message("a" * 32, source, "msg_1", START, None, b"{}", "state_change", "authentic", "sr-1", "BAG-1")
        attempt = Attempt(1, START, 5, Reject(Reason.HTTP_STATUS, "HTTP 410", 410))
        await self.own_events.delivery_dead(Owed(1, sink, message, START), "rejected", attempt)


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[_Bench]:
    async with working(_Store, tmp_path, clock, structlog.testing.CapturingLogger()) as (store, audit):
        yield _Bench(store, audit, clock)


async def test_the_notice_of_a_dead_delivery_has_everything_that_helps_to_find_it(bench: _Bench) -> None:
    await bench.dead()
    (own_event,) = await bench.told()
    assert own_event == {
        "event_type": "gateway.delivery_dead",
        "timestamp": "2026-02-25T06:13:20.000Z",
        "sink": "erp",
        "reason": "rejected",
        "detail": "HTTP 410",
        "message_id": "a" * 32,
        "sr_uuid": "sr-1",
        "reference_id": "BAG-1",
    }
    assert [(owed.sink, due, owed.message.source) for owed, due in bench.offered] == [
        ("mail", START, "gateway"),
        ("chat", START, "gateway"),
    ]
    await bench.audit.flush()
    (line,) = [json.loads(line) for line in bench.audit.path.read_bytes().splitlines()]
    assert (line["event"], line["source"], line["event_type"]) == ("message.accepted", "gateway", "gateway.delivery_dead")
    assert (line["routes"], line["sinks"]) == (["told"], ["mail", "chat"])


async def test_an_open_breaker_and_a_quarantined_message_make_notices(bench: _Bench) -> None:
    await bench.own_events.sink_opened("erp", "timeout", "no outcome within 30 s")
    message = Message("b" * 32, "legitmark", "msg_2", START, None, b"\xff")
    await bench.own_events.message_quarantined(message, "not JSON")
    opened, quarantined = await bench.told()
    assert (opened["event_type"], opened["sink"], opened["reason"]) == ("gateway.sink_opened", "erp", "timeout")
    assert (quarantined["event_type"], quarantined["message_id"]) == ("gateway.message_quarantined", "b" * 32)
    assert quarantined["detail"] == "not JSON"


async def test_each_kind_of_notice_comes_at_most_once_in_ten_minutes_for_each_sink(bench: _Bench, clock: FakeClock) -> None:
    for _ in range(5):
        await bench.dead("erp")
        await bench.dead("crm")
        await bench.own_events.sink_opened("erp", "dns", "")
    assert len(await bench.told()) == 3
    clock.advance(599.0)
    await bench.dead("erp")
    assert len(await bench.told()) == 3
    clock.advance(1.1)
    await bench.dead("erp")
    await bench.dead("erp")
    assert len(await bench.told()) == 4


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
async def test_a_clock_that_jumps_neither_silences_nor_repeats_a_notice(bench: _Bench, clock: FakeClock, jump: float) -> None:
    await bench.dead()
    clock.jump(jump)
    await bench.dead()
    assert len(await bench.told()) == 1
    clock.advance(601.0)
    await bench.dead()
    assert len(await bench.told()) == 2


async def test_no_notice_is_sent_about_a_notice(bench: _Bench) -> None:
    await bench.dead("mail", source="gateway")
    assert await bench.told() == []


async def test_notices_that_no_route_wants_are_not_stored(bench: _Bench) -> None:
    bench.routed([Route(name="all of legitmark", sinks=("mail",), sources=("legitmark",))])
    await bench.dead()
    await bench.own_events.sink_opened("erp", "dns", "")
    assert await bench.told() == [] and bench.offered == []


async def test_a_notice_that_a_full_disk_refused_is_sent_the_next_time(bench: _Bench) -> None:
    """There is at most one notice in ten minutes. A notice that was lost does not count."""
    bench.store.refused = 1
    await bench.dead()
    assert await bench.told() == []
    await bench.dead()
    assert len(await bench.told()) == 1


async def test_a_source_that_refuses_everything_again_makes_another_notice_however_soon(bench: _Bench, clock: FakeClock) -> None:
    watch = SourceWatch(tell=bench.own_events.source_refused, metrics=Metrics(), clock=clock, log=structlog.get_logger())
    for _ in range(2):
        for _ in range(ENOUGH):
            watch.refused("legitmark", "bad_signature")
        bench.store.refused = 2  # the disk is full at first
        for _ in range(60):
            await watch.step()
            clock.advance(10)
        watch.good("legitmark")
        watch.refused("legitmark", "bad_signature")
        clock.advance(NONE_GOOD)
    kinds = [(own_event["event_type"], own_event["source"], own_event["count"]) for own_event in await bench.told()]
    assert kinds == [("gateway.source_refused", "legitmark", ENOUGH), ("gateway.source_refused", "legitmark", ENOUGH + 1)]


async def test_a_route_can_choose_by_kind_and_sink(bench: _Bench) -> None:
    pattern, problems = compile_pattern({"source": "gateway", "event_type": "gateway.sink_opened", "sink": "erp"})
    assert problems == []
    bench.routed([Route(name="chosen", sinks=("mail",), match=(pattern,))])
    await bench.dead()
    await bench.own_events.sink_opened("crm", "dns", "")
    await bench.own_events.sink_opened("erp", "dns", "")
    assert [own_event["sink"] for own_event in await bench.told()] == ["erp"]


async def test_the_seal_of_the_day_has_the_hash_that_proves_the_log(bench: _Bench) -> None:
    assert await bench.own_events.sealed(SealHead(1440, "5dc9da79"))
    (own_event,) = await bench.told()
    assert (own_event["event_type"], own_event["seal"], own_event["number"]) == ("gateway.sealed", "5dc9da79", 1440)
    assert own_event["detail"] == "seal 1440 of the audit log: 5dc9da79"


async def test_a_seal_that_could_not_be_stored_has_to_be_told_later(bench: _Bench) -> None:
    bench.store.refused = 1
    assert not await bench.own_events.sealed(SealHead(1, "5dc9da79"))
    assert await bench.own_events.sealed(SealHead(1, "5dc9da79"))
