"""The log is for rare events: a bug, or a database that refuses, is one line however often it happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import structlog

from gateway.core.errors import StoreError
from gateway.core.events import event_of
from gateway.core.outcome import Delivered, Outcome
from gateway.core.routing import Decision, Router
from gateway.ingest.accept import Inbox, Rules
from gateway.observability.metrics import Metrics
from gateway.sinks.base import Outgoing
from tests.engine.bench import Bench
from tests.fakes import FakeClock
from tests.store.kit import run_sql
from tests.support.locked_database import locked


async def test_a_bug_in_a_sink_is_logged_once_in_a_while_with_the_ids_of_a_delivery(bench: Bench, clock: FakeClock) -> None:
    def buggy(delivery: Outgoing) -> Outcome:
        raise ZeroDivisionError("of ours")

    await bench.start(failures=10**6, concurrency=64)
    bench.sink.answer = buggy
    owed = await bench.give(200)
    await bench.work()
    (call,) = bench.log.calls
    first = call.kwargs
    assert first["message_id"] in {one.message.id for one in owed} and first["delivery_id"] == f"{first['message_id']}-erp"
    assert (first["event"], first["sink"], first["attempt"], first["more"]) == ("delivery.bug", "erp", 1, 0)
    clock.advance(61.0)
    await bench.work()
    (_, call) = bench.log.calls
    assert (call.kwargs["attempt"], call.kwargs["more"]) == (2, 199)
    bench.sink.answer = Delivered()


async def test_a_bug_in_the_rules_is_logged_once_in_a_while_and_loses_no_message(bench: Bench, clock: FakeClock) -> None:
    class Broken(Router):
        def route(self, event: Any, source: str, facts: Any = None) -> Decision:
            raise ZeroDivisionError("of ours")

    log = structlog.wrap_logger(bench.log, processors=[])
    rules = Rules(router=Broken([]), policies={})
    inbox = Inbox(
        store=bench.store, audit=bench.audit, rules=rules, offer=lambda *_: None, metrics=Metrics(), clock=clock, log=log
    )
    for number in range(300):
        assert inbox.route(event_of({}), f"source_{number % 2}", f"message {number}").routes == ()
    assert [(call.kwargs["event"], call.kwargs["source"], call.kwargs["message_id"]) for call in bench.log.calls] == [
        ("routing.bug", "source_0", "message 0"),
        ("routing.bug", "source_1", "message 1"),
    ]


async def test_a_long_refusal_of_the_database_is_logged_when_it_begins_and_when_it_ends(bench: Bench, clock: FakeClock) -> None:
    janitor = bench.janitor()
    await run_sql(bench.store, "PRAGMA busy_timeout = 0")
    with locked(bench.store.path):
        for _ in range(200):
            clock.advance(1.0)
            with pytest.raises(StoreError):
                await bench.accept()
            await janitor.step()
    await janitor.step()
    await janitor.step()
    assert Counter(call.kwargs["event"] for call in bench.log.calls) == {"store.refusing": 1, "store.recovered": 1}
