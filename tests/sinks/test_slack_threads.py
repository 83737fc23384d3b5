"""A `slack` sink with a bot's token: one thread per service request, through the real store and a Slack on loopback."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.conversation import Conversation
from gateway.core.errors import StoreError
from gateway.core.outcome import Defer, Delivered, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks import open_sink
from gateway.sinks.base import Conversations, Outgoing, Sink
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.error_codes import SINK_WIDE
from gateway.store.sink_conversations import SinkConversations
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import FakeClock
from tests.sinks.http_server import answer
from tests.sinks.sending import PATIENCE, opening, outgoing, probe, ref, send
from tests.sinks.slack_side import CHANNEL, TOKEN, Slack, api, shown
from tests.store.kit import serving


def config_of(slack: Slack, **more: Any) -> SlackConfig:
    return SlackConfig(**{"token": ref("TOKEN"), "channel": CHANNEL, "api": slack.api, **more})


def sink_of(slack: Slack, base: Path, conversations: Conversations | None, token: str = TOKEN, **more: Any) -> Sink:
    return open_sink(config_of(slack, **more), msgspec.structs.replace(opening(base, TOKEN=token), conversations=conversations))


@asynccontextmanager
async def world(base: Path, **more: Any) -> AsyncIterator[tuple[Slack, Sink, SqliteStore]]:
    async with serving(base / "gateway.db") as store, Slack() as slack:
        sink = sink_of(slack, base, SinkConversations(store, "desk", FakeClock()), **more)
        try:
            yield slack, sink, store
        finally:
            await sink.aclose()


def event(
    primary: str = "QC", supplement: str | None = "PENDING", *, sr: str | None = "sr-1", at: str = "09:00", **more: Any
) -> Outgoing:
    values = {"event_type": "state_change", "sr_uuid": sr, "reference_id": "BAG-1", "timestamp": f"2026-03-02T{at}:00Z"}
    return outgoing(json.dumps({**values, "state": {"primary": primary, "supplement": supplement}, **more}).encode())


async def test_the_first_event_begins_a_thread_and_later_ones_are_replies_that_change_what_it_shows(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        for delivery in (event(), event("QC", "APPROVED", at="10:00"), event("COMPLETE", "REJECTED", at="11:00")):
            assert await send(sink, delivery) == Delivered(200)
    (ts, parent), *replies = slack.messages.items()
    assert "The item is NOT authentic" in parent["text"] and "NOT authentic" in shown(parent["blocks"])
    assert [reply["thread_ts"] for _, reply in replies] == [ts, ts]
    assert ["Photos passed" in replies[0][1]["text"], "NOT authentic" in shown(replies[1][1]["blocks"])] == [True, True]
    assert [method for method, _ in slack.calls] == ["chat.postMessage", *["chat.update", "chat.postMessage"] * 2]


async def test_a_thread_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with Slack() as slack:
        for delivery in (event(), event("QC", "APPROVED", at="10:00")):
            async with serving(tmp_path / "gateway.db") as store:
                sink = sink_of(slack, tmp_path, SinkConversations(store, "desk", FakeClock()))
                assert await send(sink, delivery) == Delivered(200)
                await sink.aclose()
    assert (len(slack.parents), len(slack.replies)) == (1, 1)


async def test_each_service_request_and_each_channel_and_each_sink_has_a_thread_of_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store, Slack() as slack:
        for name, channel in (("desk", CHANNEL), ("desk", "#fraud-desk"), ("other", CHANNEL)):
            sink = sink_of(slack, tmp_path, SinkConversations(store, name, FakeClock()), channel=channel)
            for sr in ("sr-1", "sr-2", "sr-1"):
                assert await send(sink, event(sr=sr)) == Delivered(200)
            await sink.aclose()
    assert (len(slack.parents), len(slack.replies)) == (6, 3)


async def test_an_edit_names_the_channel_by_its_id(tmp_path: Path) -> None:
    async with world(tmp_path, channel="#fraud-desk") as (slack, sink, _):
        assert [await send(sink, event()), await send(sink, event("COMPLETE", "APPROVED"))] == [Delivered(200)] * 2
    assert "authentic" in slack.parents[0]["text"]
    assert [body["channel"] for _, body in slack.calls] == ["#fraud-desk", CHANNEL, CHANNEL]


async def test_two_events_at_the_same_time_begin_one_thread(tmp_path: Path) -> None:
    async with world(tmp_path, concurrency=8, ordering="none") as (slack, sink, _), asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*(sink.send(event(sr=f"sr-{number % 2}")) for number in range(8)))
    assert set(outcomes) == {Delivered(200)}
    assert (len(slack.parents), len(slack.replies)) == (2, 6)


async def test_a_late_event_is_a_reply_and_does_not_change_the_state_that_the_thread_shows(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        verdict, late = event("COMPLETE", "APPROVED", at="11:00"), event("QC", "PENDING", at="10:00")
        for delivery in (event("QC", "REJECTED", at="09:00"), verdict, late):
            assert await send(sink, delivery) == Delivered(200)
        assert "The item is authentic" in slack.parents[0]["text"]
        assert "in quality review" in slack.replies[1]["text"]
        await send(sink, event("COMPLETE", "COMPLETE", at="12:00"))
    assert "Fully processed" in slack.parents[0]["text"]


@pytest.mark.parametrize("delivery", [event(sr=None), event(sr=""), outgoing(b"[1]")], ids=["none", "empty", "unreadable"])
async def test_a_message_without_a_service_request_stands_alone(delivery: Outgoing, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        assert [await send(sink, delivery), await send(sink, delivery)] == [Delivered(200)] * 2
    assert len(slack.parents) == 2 == len(slack.calls)


async def test_neither_a_drill_nor_a_notice_enters_a_thread(tmp_path: Path) -> None:
    notice = outgoing(b'{"event_type":"gateway.delivery_dead","sink":"erp","sr_uuid":"sr-1"}', source="gateway")
    async with world(tmp_path) as (slack, sink, _):
        for delivery in (event(), msgspec.structs.replace(event(), drill=True), notice):
            assert await send(sink, delivery) == Delivered(200)
    assert len(slack.parents) == 3 == len(slack.calls)
    assert "[TEST]" in slack.parents[1]["text"] and "[TEST]" in shown(slack.parents[1]["blocks"])


async def test_a_lost_answer_repeats_at_most_one_message(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        slack.lost = lambda method: True
        assert isinstance(await send(sink, event()), Retry)
        slack.lost = lambda method: False
        assert await send(sink, event()) == Delivered(200)
        assert len(slack.parents) == 2
        slack.lost = lambda method: method == "chat.postMessage"
        assert isinstance(await send(sink, event("QC", "APPROVED", at="10:00")), Retry)
        slack.lost = lambda method: False
        assert await send(sink, event("QC", "APPROVED", at="10:00")) == Delivered(200)
    assert (len(slack.parents), len(slack.replies)) == (2, 2)


@pytest.mark.parametrize("failure", [answer(500), api(ok=False, error="edit_window_closed"), answer(200, b"<html>")])
async def test_an_edit_that_fails_delays_no_message_and_the_next_event_makes_it(failure: bytes, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event())
        slack.instead = lambda method, body: failure if method == "chat.update" else None
        outcome = await send(sink, event("QC", "REJECTED", at="10:00"))
        assert isinstance(outcome, Delivered) and "older state" in outcome.detail
        assert "in quality review" in slack.parents[0]["text"]
        slack.instead = lambda method, body: None
        assert await send(sink, event("QC", "PENDING", at="09:30")) == Delivered(200)
    assert (len(slack.parents), len(slack.replies)) == (1, 2)
    assert slack.calls[-2][0] == "chat.update"


async def test_an_edit_that_hangs_delays_a_message_by_at_most_a_third_of_the_time(tmp_path: Path) -> None:
    async with world(tmp_path, timeout=Duration("900ms")) as (slack, sink, _):
        await send(sink, event())
        # Half an answer: the head promises more than comes.
        slack.instead = lambda method, body: b"HTTP/1.1 200 OK\r\n" if method == "chat.update" else None
        async with asyncio.timeout(0.8):
            outcome = await sink.send(event("QC", "APPROVED", at="10:00"))
    assert isinstance(outcome, Delivered) and "no answer in time" in outcome.detail
    assert len(slack.replies) == 1


async def test_a_thread_whose_first_message_was_deleted_begins_again(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event())
        slack.messages.clear()
        assert await send(sink, event("QC", "APPROVED", at="10:00")) == Delivered(200)
        assert await send(sink, event("COMPLETE", "APPROVED", at="11:00")) == Delivered(200)
    assert (len(slack.parents), len(slack.replies)) == (1, 1)
    assert "The item is authentic" in slack.parents[0]["text"]


async def test_a_reply_that_finds_no_thread_begins_one(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event(at="10:00"))
        slack.instead = lambda method, body: api(ok=False, error="thread_not_found") if "thread_ts" in body else None
        assert await send(sink, event(at="09:00")) == Delivered(200)
    assert len(slack.parents) == 2


async def test_a_rate_limit_defers_before_anything_is_posted(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event())
        slack.instead = lambda method, body: answer(429, b"", retry_after="17") if method == "chat.update" else None
        outcome = await send(sink, event("QC", "APPROVED", at="10:00"))
        assert isinstance(outcome, Defer) and (outcome.reason, outcome.after) == (Reason.RATE_LIMITED, 17.0)
        assert slack.replies == []
        slack.instead = lambda method, body: api(retry_after="3", ok=False, error="ratelimited")
        outcome = await send(sink, event(sr="sr-2"))
        assert isinstance(outcome, Defer) and (outcome.reason, outcome.after) == (Reason.RATE_LIMITED, 3.0)


@pytest.mark.parametrize("code", [*SINK_WIDE, "restricted_action_read_only_channel", "restricted_action_thread_only_channel"])
async def test_an_error_that_every_message_would_get_opens_the_breaker_and_says_what_to_do(code: str, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        slack.instead = lambda method, body: api(ok=False, error=code)
        outcome = await send(sink, event())
    assert isinstance(outcome, Retry) and outcome.sink_wide
    assert outcome.reason is Reason.REJECTED
    assert outcome.detail.startswith(f"Slack says {code}: ") and len(outcome.detail) > len(code) + 20


@pytest.mark.parametrize(
    "code",
    ["fatal_error", "internal_error", "service_unavailable", "request_timeout", "invalid_arguments", "what_comes_next_year"],
)
async def test_a_passing_error_and_an_undocumented_error_are_tried_again(code: str, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        slack.instead = lambda method, body: api(ok=False, error=code)
        outcome = await send(sink, event())
    assert isinstance(outcome, Retry) and not outcome.sink_wide and code in outcome.detail


@pytest.mark.parametrize("code", ["invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text"])
async def test_a_message_that_slack_refuses_is_sent_once_as_plain_text_and_is_dead_then(code: str, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        slack.instead = lambda method, body: api(ok=False, error=code) if body.get("blocks") else None
        outcome = await send(sink, event())
        assert isinstance(outcome, Delivered) and code in outcome.detail
        assert "in quality review" in slack.parents[0]["text"] and "blocks" not in slack.parents[0]
        outcome = await send(sink, event("QC", "APPROVED", at="10:00"))
        assert isinstance(outcome, Delivered) and "Photos passed" in slack.parents[0]["text"]
        calls = len(slack.calls)
        slack.instead = lambda method, body: api(ok=False, error=code)
        outcome = await send(sink, event(sr="sr-2"))
    assert isinstance(outcome, Reject) and code in outcome.detail
    assert len(slack.calls) == calls + 2


async def test_an_edit_is_cut_between_two_characters_to_the_length_that_slack_accepts(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event())
        sides = [{"side": f"Side {number}", "reason": "&&", "message": "a&" * 150} for number in range(6)]
        values = {"event_type": "media_rejected", "sr_uuid": "sr-1", "timestamp": "2026-03-02T10:00:00Z", "sides": sides}
        outcome = await send(sink, outgoing(json.dumps(values).encode()))
    assert outcome == Delivered(200)
    (parent,) = slack.parents
    assert 3900 < len(parent["text"]) <= 4000 and parent["text"].endswith("…")
    assert set(re.findall("&[a-z]*.", parent["text"])) == {"&amp;"}


async def test_a_reply_whose_thread_was_deleted_names_its_item_and_begins_the_next_thread(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, store):
        await send(sink, event(at="10:00"))
        slack.messages.clear()
        outcome = await send(sink, event(at="09:00"))  # it changes nothing that the thread shows, so only the reply can tell
        assert isinstance(outcome, Delivered) and "new one" in outcome.detail
        ((ts, parent),) = slack.messages.items()
        assert "BAG-1" in shown(parent["blocks"]) and "thread_ts" not in parent
        assert await SinkConversations(store, "desk", FakeClock()).find(CHANNEL, "sr-1") == Conversation(
            CHANNEL, ts, 1772442000.0
        )
        assert await send(sink, event("QC", "APPROVED", at="11:00")) == Delivered(200)
    assert (len(slack.parents), len(slack.replies)) == (1, 1)


async def test_a_long_answer_also_tells_that_a_thread_was_deleted(tmp_path: Path) -> None:
    sides = [{"side": f"面{number}", "reason": "写" * 200, "message": "写" * 300} for number in range(6)]
    async with world(tmp_path) as (slack, sink, _):
        await send(sink, event(at="10:00"))
        slack.messages.clear()
        outcome = await send(sink, event(at="09:00", event_type="media_rejected", sides=sides))
        ((_, parent),) = slack.messages.items()
    assert isinstance(outcome, Delivered) and "new one" in outcome.detail
    assert len(json.dumps(parent)) > 16 * 1024 and "BAG-1" in shown(parent["blocks"])


@pytest.mark.parametrize("whole", [False, True])
async def test_a_posted_message_is_delivered_before_the_lane_cuts_the_calls_after_it(whole: bool, tmp_path: Path) -> None:
    """A reply at the channel's root whose answer does not end, between two edits that hang."""
    said = json.dumps({"ok": True, "channel": CHANNEL, "ts": "1772000001.000001", "message": {"text": "x"}}).encode()
    posted = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(said) if whole else 9999) + said
    async with world(tmp_path, timeout=Duration("900ms")) as (slack, sink, _):
        await send(sink, event())
        slack.instead = lambda method, body: posted if method == "chat.postMessage" else b"HTTP/1.1 200 OK\r\n"
        async with asyncio.timeout(0.9):
            outcome = await sink.send(event("QC", "APPROVED", at="10:00"))
    assert isinstance(outcome, Delivered) and "stands alone" in outcome.detail
    assert [method for method, _ in slack.calls].count("chat.postMessage") == 2


@pytest.mark.parametrize("error", ["is_archived", "is_inactive", "channel_not_found", "not_in_channel"])
async def test_a_thread_in_a_closed_channel_does_not_delay_a_new_channel_of_the_same_name(error: str, tmp_path: Path) -> None:
    async with world(tmp_path, channel="#fraud-desk") as (slack, sink, _):
        await send(sink, event(at="10:00"))
        slack.archived, slack.channel = {CHANNEL}, "C0NEW"
        slack.instead = lambda method, body: api(ok=False, error=error) if body["channel"] == CHANNEL else None
        for at in ("09:00", "11:00", "12:00"):
            assert await send(sink, event(at=at)) == Delivered(200)
    assert [body["channel"] for _, body in slack.calls[-4:]] == ["C0NEW"] * 4
    assert (len(slack.parents), len(slack.replies)) == (2, 2)


async def test_an_answer_that_names_no_message_is_not_delivered(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, _):
        for said in (api(ok=True), api(ok=True, channel=CHANNEL), answer(200, b'{"ok":true,"ts":7}'), answer(200, b'{"ok":true')):
            slack.instead = lambda method, body, said=said: said  # type: ignore[misc]
            outcome = await send(sink, event())
            assert isinstance(outcome, Retry) and outcome.reason is Reason.PROTOCOL


@pytest.mark.parametrize(
    "said",
    [api(ok=False, error="internal_error"), api(ok=False), api(ok=False, error="<!channel>"), answer(200, b"ok"), answer(200)],
)
async def test_any_other_answer_that_is_not_ok_is_not_delivered(said: bytes, tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, store):
        slack.instead = lambda method, body: said
        outcome = await send(sink, event())
        assert isinstance(outcome, Retry) and outcome.detail and "<" not in outcome.detail
        assert await SinkConversations(store, "desk", FakeClock()).find(CHANNEL, "sr-1") is None


async def test_a_wrong_token_opens_the_breaker_and_is_shown_nowhere(tmp_path: Path) -> None:
    async with Slack() as slack:
        sink = sink_of(slack, tmp_path, None, token="xoxb-wrong-4Tq9")
        slack.instead = lambda method, body: api(ok=False, error="invalid_auth", you_sent="xoxb-wrong-4Tq9")
        outcome = await send(sink, event())
        await sink.aclose()
    assert isinstance(outcome, Retry) and outcome.sink_wide
    assert "4Tq9" not in repr(outcome)


async def test_an_answer_that_is_too_long_to_be_read_whole_still_tells_its_thread(tmp_path: Path) -> None:
    async with world(tmp_path) as (slack, sink, store):
        said: dict[str, Any] = {"ok": True, "channel": CHANNEL, "ts": "1772000001.000007", "message": {"text": "鑑" * 20_000}}
        slack.instead = lambda method, body: api(**said)
        assert await send(sink, event()) == Delivered(200)
        found = await SinkConversations(store, "desk", FakeClock()).find(CHANNEL, "sr-1")
    assert found is not None and (found.channel, found.ts) == (CHANNEL, "1772000001.000007")


class Sick(Conversations):
    def __init__(self, *, reads: bool) -> None:
        self._reads = reads

    async def find(self, channel: str, sr: str) -> Conversation | None:
        if self._reads:
            return None
        raise StoreError("the disk is away")

    async def keep(self, channel: str, sr: str, conversation: Conversation) -> None:
        raise StoreError("the disk is full")


async def test_a_database_that_cannot_find_a_thread_costs_no_attempt_and_one_that_cannot_keep_a_thread_repeats_nothing(
    tmp_path: Path,
) -> None:
    async with Slack() as slack:
        sink = sink_of(slack, tmp_path, Sick(reads=False))
        assert isinstance(await send(sink, event()), Defer)
        assert slack.calls == []
        await sink.aclose()
        sink = sink_of(slack, tmp_path, Sick(reads=True))
        outcome = await send(sink, event())
        await sink.aclose()
    assert isinstance(outcome, Delivered) and "may begin another" in outcome.detail


async def test_without_a_store_each_message_stands_alone(tmp_path: Path) -> None:
    async with Slack() as slack:
        sink = sink_of(slack, tmp_path, None)
        assert [await send(sink, event()), await send(sink, event())] == [Delivered(200)] * 2
        await sink.aclose()
    assert len(slack.parents) == 2


async def test_a_probe_with_a_token_asks_slack_whose_it_is_and_posts_nothing(tmp_path: Path) -> None:
    async with Slack() as slack:
        found = await probe(config_of(slack), tmp_path, TOKEN=TOKEN)
        assert found.ok and f"127.0.0.1:{slack.port}" in found.detail and "token accepted as gateway of Acme" in found.detail
        found = await probe(config_of(slack), tmp_path, TOKEN="xoxb-wrong-4Tq9")
        assert not found.ok and "invalid_auth" in found.detail and "make a new token" in found.detail
        assert "4Tq9" not in found.detail
        slack.instead = lambda method, body: answer(200, b"<html>")
        assert not (await probe(config_of(slack), tmp_path, TOKEN=TOKEN)).ok
    assert {method for method, _ in slack.calls} == {"auth.test"} and slack.messages == {}


def test_events_of_a_service_request_go_one_after_the_other_with_a_token_unless_ordering_says_otherwise() -> None:
    by_token = {"token": ref("TOKEN"), "channel": CHANNEL}
    assert SlackConfig(**by_token).by_sr  # type: ignore[arg-type]
    assert not SlackConfig(**by_token, ordering="none").by_sr  # type: ignore[arg-type]
    assert not SlackConfig(webhook_url=ref("HOOK")).by_sr
    assert SlackConfig(webhook_url=ref("HOOK"), ordering="sr").by_sr
