"""A `slack` sink with a bot token in a real gateway: one thread per service request, whatever arrives at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.sinks.slack_side import CHANNEL, TOKEN, Slack, api
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event

CONFIG = """
[sinks.desk]
type = "slack"
token = {{ env = "SLACK" }}
channel = "{channel}"
api = "{api}"
rate = "500/s"
{more}
[[routes]]
name = "all"
source = "legitmark"
sinks = ["desk"]
"""


@asynccontextmanager
async def running(folder: Path, *more: str) -> AsyncIterator[tuple[Running, Slack]]:
    async with Slack() as slack:
        toml = CONFIG.format(channel=CHANNEL, api=slack.api, more="\n".join(more))
        with Running(folder, toml, {"SLACK": TOKEN}) as process, no_traceback(process):
            yield process, slack


def changed(sr: str, primary: str, supplement: str, at: str) -> bytes:
    return event(sr, state={"primary": primary, "supplement": supplement}, timestamp=f"2026-03-02T{at}:00Z")


@pytest.mark.parametrize("more", [(), ("concurrency = 16",)], ids=["as it is", "with 16 slots"])
async def test_two_events_of_a_service_request_at_the_same_time_make_one_thread(more: tuple[str, ...], tmp_path: Path) -> None:
    events = [("QC", "APPROVED", "09:00"), ("UNDERWAY", "ASSIGNED", "10:00"), ("COMPLETE", "REJECTED", "11:00")]
    async with running(tmp_path, *more) as (process, slack):
        await asyncio.gather(*(process.post(changed(f"sr-{number}", *one)) for number in range(4) for one in events))
        await until(lambda: len(process.audit("delivery.delivered")) == 12)
        assert (len(slack.parents), len(slack.replies)) == (4, 8)
        assert all("NOT authentic" in parent["text"] for parent in slack.parents)
        assert process.rows("SELECT count(*), count(DISTINCT sr) FROM threads") == [(4, 4)]
        assert process.audit("delivery.retrying") == []


async def test_a_thread_goes_on_after_a_kill(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, slack):
        await process.post(changed("sr-1", "QC", "PENDING", "09:00"))
        await until(lambda: len(process.audit("delivery.delivered")) == 1)
        await process.restart()
        await process.post(changed("sr-1", "COMPLETE", "APPROVED", "10:00"))
        await until(lambda: len(process.audit("delivery.delivered")) == 2)
    (parent,), (reply,) = slack.parents, slack.replies
    assert "The item is authentic" in parent["text"] and "The item is authentic" in reply["text"]


@pytest.mark.parametrize("error", ["token_revoked", "channel_not_found", "is_archived", "missing_scope"])
async def test_trouble_of_the_sink_kills_no_delivery_and_the_status_says_what_to_do(error: str, tmp_path: Path) -> None:
    async with running(tmp_path, 'breaker = { failures = 3, probe = "1s" }') as (process, slack):
        slack.instead = lambda method, body: api(ok=False, error=error)
        for number in range(40):
            await process.post(changed(f"sr-{number}", "QC", "PENDING", "09:00"))
        await until(lambda: process.audit("sink.opened"))
        (opened,) = process.audit("sink.opened")
        assert opened["detail"].startswith(f"Slack says {error}: ")
        status = (await process.admin("/api/status")).json()
        (needed,) = [one for one in status["attention"] if one["reason"] == "breaker"]
        assert f"Slack says {error}: " in needed["detail"]
        assert process.audit("delivery.dead") == []
        slack.instead = lambda method, body: None
        await until(lambda: len(process.audit("delivery.delivered")) == 40)
    assert TOKEN not in process.stderr_file.read_text() + process.audit_file.read_text()
