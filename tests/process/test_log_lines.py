"""Failing sinks leave the log of a real gateway short: a sink that is down is one line, however many deliveries fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

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


async def test_hundreds_of_failing_deliveries_write_no_log_line(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """Deliveries that fail twice each, or whose template fails; no breaker opens."""
    (tmp_path / "words").write_text("{% if event.broken %}{{ event.nothing.more }}{% endif %}")
    tough = 'retry = ["0s", "100ms"]\nbreaker = { failures = 100000, probe = "30s" }\n'
    with Receiver() as receiver:
        receiver.always = (500, {})
        toml = (
            f'[sinks.gone]\ntype = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:{free_port()}/"\n{tough}'
            f'[sinks.failing]\ntype = "http"\non_stale = "annotate"\nurl = "{receiver.url()}"\n{tough}'
            '[sinks.wordless]\ntype = "slack"\nwebhook_url = { env = "HOOK" }\nconcurrency = 8\nrate = "1000/s"\n'
            f'template = "words"\n{tough}'
        )
        with Running(tmp_path, toml + route("gone", "failing", "wordless"), {"HOOK": receiver.url("/slack-4c9e17")}) as running:
            before = len(running.stderr().splitlines())
            await post_all(running, NUMBER)
            await until(lambda: len(running.audit("delivery.dead")) == 3 * NUMBER)
            assert running.stderr().splitlines()[before:] == []
            assert len(receiver.of(b"")) == 0 and len(receiver.requests) == 4 * NUMBER


async def test_a_sink_that_is_down_is_one_line_with_its_name(tmp_path: Path, free_port: Callable[[], int]) -> None:
    toml = f'[sinks.gone]\ntype = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:{free_port()}/"\n' + route("gone")
    with Running(tmp_path, toml) as running:
        before = len(running.stderr().splitlines())
        await post_all(running, NUMBER)
        await until(lambda: "sink.opened" in running.stderr())
        said = [json.loads(line) for line in running.stderr().splitlines()[before:]]
        assert [(line["event"], line["level"], line["sink"], line["reason"]) for line in said] == [
            ("sink.opened", "warning", "gone", "connect")
        ]
