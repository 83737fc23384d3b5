"""A `slack` sink with a bot's token in the real process: one thread per service request, whatever comes at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.flow.running import Running, event, no_traceback, until
from tests.sinks.slack_side import CHANNEL, TOKEN, Slack

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


async def test_a_channel_that_is_not_there_is_dead_at_once_with_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, slack):
        process.write_config(CONFIG.format(channel="C0000", api=slack.api, more=""))
        await process.restart()
        await process.post(changed("sr-1", "QC", "PENDING", "09:00"))
        await until(lambda: process.audit("delivery.dead"))
        (dead,) = process.audit("delivery.dead")
    assert dead["reason"] == "rejected"
    assert "channel_not_found: check channel" in dead["detail"]
    assert TOKEN not in process.stderr_file.read_text() + process.audit_file.read_text()
