"""A rejection and its reasons make one mail and one Slack message in a real gateway, also if it is killed between the two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.backups import admin
from tests.cli.running import gateway as command
from tests.sinks.slack_side import CHANNEL, TOKEN, Slack
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Mailbox
from tests.support.reloading import reloaded
from tests.support.stories import bodies
from tests.support.waiting import until

CONFIG = """
[sinks.care]
type = "email"
host = "127.0.0.1"
port = {mail}
security = "none"
sender = "gateway@example.com"
recipients = ["care@example.com"]
retry = ["0s", "100ms", "100ms", "100ms"]

[sinks.desk]
type = "slack"
token = {{ env = "SLACK" }}
channel = "{channel}"
api = "{api}"

[sinks.archive]
type = "jsonl"
path = "archive.jsonl"

[[routes]]
name = "rejections"
match = {{ milestone = ["qc_rejected", "needs_resubmission"] }}
sinks = ["care", "desk"]
join = "{join}"

[[routes]]
name = "all"
source = "legitmark"
sinks = ["archive"]
"""


@asynccontextmanager
async def running(folder: Path, mailbox: Mailbox, join: str = "10m") -> AsyncIterator[tuple[Running, Slack]]:
    async with Slack() as slack:
        toml = CONFIG.format(mail=mailbox.port, channel=CHANNEL, api=slack.api, join=join)
        with Running(folder, toml, {"SLACK": TOKEN}) as process, no_traceback(process):
            yield process, slack


async def post(process: Running, text: str, sr: str = "sr-1") -> str:
    (body,) = bodies(text, sr)
    return str((await process.post(json.dumps(body).encode())).json()["id"])


def sent(process: Running) -> list[tuple[str, str]]:
    return [(line["message_id"], line["sink"]) for line in process.audit("delivery.delivered") if line["sink"] != "archive"]


@pytest.mark.parametrize("order", [("M21", "R20"), ("R20", "M21")])
async def test_a_kill_between_the_two_events_still_makes_one_mail_and_one_slack_message(
    order: tuple[str, str], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with Mailbox(free_port()) as mailbox:
        async with running(tmp_path, mailbox) as (process, slack):
            first = await post(process, order[0])
            await process.restart()
            second = await post(process, order[1])
            await until(lambda: len(process.audit("delivery.delivered")) == 4)
            assert sorted(sent(process)) == [(first, "care"), (first, "desk")]
            joined = process.audit("delivery.joined")
            assert [(line["message_id"], line["told_by"]) for line in joined] == [
                (second, f"{first}-care"),
                (second, f"{first}-desk"),
            ]
            (mail,), (post_,) = mailbox.mails, slack.parents
            for text in (mail.get_body(("plain",)).get_content(), post_["text"]):  # type: ignore[union-attr]
                assert "Photos failed the quality review, new ones are needed" in text and "Glare" in text
            lines = (process.folder / "archive.jsonl").read_text().splitlines()
            assert {json.loads(line)["message_id"] for line in lines} == {first, second}
            story = (await process.admin(f"/api/messages/{second}")).json()["messages"][0]["deliveries"]
            assert {one["sink"]: (one["state"], one.get("told_by")) for one in story} == {
                "archive": ("delivered", None),
                "care": ("discarded", f"{first}-care"),
                "desk": ("discarded", f"{first}-desk"),
            }


async def test_a_mail_server_that_was_down_gets_one_mail_and_a_kill_after_the_join_loses_nothing(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    mailbox = Mailbox(free_port())
    async with running(tmp_path, mailbox) as (process, _):
        first, second = await post(process, "R20"), await post(process, "M21")
        await until(lambda: process.audit("sink.opened", sink="care"))
        process.kill()
        with mailbox:
            await asyncio.to_thread(process.start)
            await until(lambda: (first, "care") in sent(process))
            (mail,) = mailbox.mails
            assert "Glare" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
            assert (second, "care") not in sent(process)


async def test_an_event_whose_other_half_does_not_come_in_time_goes_out_alone_and_so_does_the_late_one(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with Mailbox(free_port()) as mailbox:
        async with running(tmp_path, mailbox, "300ms") as (process, slack):
            first = await post(process, "R20")
            await until(lambda: len(sent(process)) == 2)
            second = await post(process, "M21")
            await until(lambda: len(sent(process)) == 4)
            assert sorted(sent(process)) == sorted((one, sink) for one in (first, second) for sink in ("care", "desk"))
            assert len(mailbox.mails) == 2 and len(slack.parents) == len(slack.replies) == 1
            assert process.audit("delivery.joined") == []


async def test_a_sink_that_leaves_while_a_rejection_waits_gets_one_mail_when_it_is_back_and_one_by_a_replay(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with Mailbox(free_port()) as mailbox:
        async with running(tmp_path, mailbox) as (process, slack):
            toml = CONFIG.format(mail=mailbox.port, channel=CHANNEL, api=slack.api, join="10m")
            in_japanese = toml.replace('type = "email"', 'type = "email"\nlocale = "ja"')
            first = await post(process, "M21")
            without = toml.replace('sinks = ["care", "desk"]', 'sinks = ["desk"]')
            await reloaded(process, without[without.index("[sinks.desk]") :])
            (waits,) = [one for one in (await process.admin("/api/deliveries")).json()["deliveries"] if one["sink"] == "care"]
            assert (waits["state"], waits["held"]) == ("queued", "no such sink")
            await reloaded(process, in_japanese)
            second = await post(process, "R20")
            await until(lambda: len(sent(process)) == 2)
            for mails in (1, 2):
                await until(lambda mails=mails: len(mailbox.mails) == mails)  # type: ignore[misc]
                text = mailbox.mails[-1].get_body(("plain",)).get_content()  # type: ignore[union-attr]
                assert "撮り直し" in text and "Glare" in text, text
                # The delivery of the second one ended: that of the first one tells it again.
                for message in (first, second) if mails == 1 else ():
                    asked = ("replay", message, "--delivered", "--sink", "care", "--yes", "--admin", admin(process))
                    done = await asyncio.to_thread(command, *asked, cwd=process.folder)
                    assert done.status == 0, done.err
            assert {one for one in sent(process) if one[1] == "care"} == {(first, "care")}
