"""The log is for what is rare: a sink that is down, a bug, a disk that refuses are a line each, whatever meets them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
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
from tests.engine.test_watchdog import locked
from tests.fakes import FakeClock
from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

NUMBER = 300


async def post_all(running: Running, number: int) -> None:
    for _ in range(number // 20):
        answers = await asyncio.gather(*(running.post(event(broken=True)) for _ in range(20)))
        assert {answer.outcome for answer in answers} == {(200, "accepted")}


async def test_hundreds_of_deliveries_to_sinks_that_fail_in_every_way_are_no_lines(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Without a breaker that would open: each is tried and fails twice, or has a template that fails."""
    (tmp_path / "words").write_text("{% if event.broken %}{{ event.nothing.more }}{% endif %}")
    tough = 'retry = ["0s", "100ms"]\nbreaker = { failures = 100000, probe = "30s" }\n'
    with Receiver() as receiver:
        receiver.always = (500, {})
        toml = (
            f'[sinks.gone]\ntype = "http"\nurl = "http://127.0.0.1:{free_port()}/"\n{tough}'
            f'[sinks.failing]\ntype = "http"\nurl = "{receiver.url()}"\n{tough}'
            '[sinks.wordless]\ntype = "slack"\nwebhook_url = { env = "HOOK" }\nconcurrency = 8\nrate = "1000/s"\n'
            f'template = "words"\n{tough}'
        )
        with Running(tmp_path, toml + route("gone", "failing", "wordless"), {"HOOK": receiver.url("/slack-4c9e17")}) as running:
            before = len(running.stderr().splitlines())
            await post_all(running, NUMBER)
            await until(lambda: len(running.audit("delivery.dead")) == 3 * NUMBER, 40)
            assert running.stderr().splitlines()[before:] == []
            assert len(receiver.of(b"")) == 0 and len(receiver.requests) == 4 * NUMBER


async def test_a_sink_that_is_down_is_one_line_with_its_name(tmp_path: Path, free_port: Callable[[], int]) -> None:
    toml = f'[sinks.gone]\ntype = "http"\nurl = "http://127.0.0.1:{free_port()}/"\n' + route("gone")
    with Running(tmp_path, toml) as running:
        before = len(running.stderr().splitlines())
        await post_all(running, NUMBER)
        await until(lambda: "sink.opened" in running.stderr())
        said = [json.loads(line) for line in running.stderr().splitlines()[before:]]
        assert [(line["event"], line["level"], line["sink"], line["reason"]) for line in said] == [
            ("sink.opened", "warning", "gone", "connect")
        ]


async def test_a_bug_in_a_sink_is_told_once_in_a_while_with_the_ids_of_a_delivery(bench: Bench, clock: FakeClock) -> None:
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


async def test_a_bug_in_the_rules_is_told_once_in_a_while_and_loses_nothing(bench: Bench, clock: FakeClock) -> None:
    class Broken(Router):
        def route(self, event: Any, source: str) -> Decision:
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


async def test_a_database_that_refuses_for_long_is_told_at_its_beginning_and_at_its_end(bench: Bench, clock: FakeClock) -> None:
    janitor = bench.janitor()
    await bench.store.change(lambda link, _: link.execute("PRAGMA busy_timeout = 0"))
    with locked(bench.store.path):
        for _ in range(200):
            clock.advance(1.0)
            with pytest.raises(StoreError):
                await bench.accept()
            await janitor.step()
    await janitor.step()
    await janitor.step()
    assert Counter(call.kwargs["event"] for call in bench.log.calls) == {"store.refusing": 1, "store.recovered": 1}
