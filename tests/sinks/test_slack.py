"""The `slack` sink: valid JSON that a person can read, and that pings nobody."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.sinks import SlackConfig
from gateway.sinks.slack import escape, render
from tests.conftest import PAYLOADS
from tests.sinks.parts import Heard, HttpServer, after_request, answer, opened, outgoing, ref, send


async def posted(reply: bytes, base: Path, body: bytes | None = None) -> tuple[Outcome, Heard]:
    async with (
        HttpServer(reply) as server,
        opened(SlackConfig(webhook_url=ref("HOOK")), base, HOOK=f"{server.url}/T0/B0/x?y=1") as sink,
    ):
        outcome = await send(sink, outgoing(body) if body is not None else None)
    assert len(server.heard) == 1
    return outcome, server.heard[0]


def text_of(body: bytes) -> str:
    message = json.loads(render(outgoing(body)))
    assert isinstance(message["text"], str)
    return message["text"]


async def test_each_sample_becomes_one_json_message(payload: bytes, tmp_path: Path) -> None:
    outcome, heard = await posted(answer(200, b"ok"), tmp_path, payload)
    assert outcome == Delivered(200)
    assert heard.line == b"POST /hook/T0/B0/x?y=1 HTTP/1.1"
    assert heard.header("content-type") == "application/json; charset=utf-8"
    message: dict[str, Any] = json.loads(heard.body.decode())
    assert message["unfurl_links"] is False
    assert message["unfurl_media"] is False
    for name in ("sr_uuid", "reference_id"):
        value = json.loads(payload)[name]
        assert value is None or value in message["text"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("state_change.complete_approved", "The item is authentic: BAG-2026-000481"),
        ("state_change.complete_rejected", "The item is NOT authentic: SNK-88213-EU42"),
        ("state_change.cancelled", "The service request was cancelled: WCH-5513"),
        ("media_rejected", "- Serial label: Glare"),
        ("media_rejected.coded", "- Front: BLURRY: The photo is blurred"),
        ("media_rejected.ja", "New photos are needed: バッグ-0042"),
        (
            "media_rejected.ja",
            "- Front: ピントが合っていません: 正面の縫い目が読み取れません。カメラを固定して、もう一度撮影してください。",
        ),
        ("invalidate_sr", "CANCELLED, The service request was cancelled"),
        ("unknown_type", "certificate_issued"),
    ],
)
def test_a_person_can_read_what_happened(name: str, said: str) -> None:
    assert said in text_of((PAYLOADS / f"{name}.json").read_bytes())


def test_exactly_three_characters_are_escaped() -> None:
    every = "".join(map(chr, range(0x20, 0x250))) + "。👜\u3000"
    escaped = {character: escape(character) for character in every}
    assert {character: out for character, out in escaped.items() if out != character} == {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
    }
    assert escape("&lt;&amp;<a>") == "&amp;lt;&amp;amp;&lt;a&gt;"


PINGS = ["<!channel>", "<!here>", "<!everyone>", "<@U012AB3CD>", "<!subteam^S0|x>", "<https://evil.example|click>", "&lt;!here>"]


@pytest.mark.parametrize("ping", PINGS)
@pytest.mark.parametrize(
    "body",
    [
        {"event_type": "media_rejected", "sides": [{"side": "Front", "reason": "PING"}]},
        {"event_type": "media_rejected", "sides": [{"side": "PING", "reason": "x", "message": "PING"}]},
        {"event_type": "media_rejected", "sides": [{"side": "Front", "reason_description": "PING"}]},
        {"event_type": "invalidate_sr", "invalidation_reason": {"code": "PING", "message": "PING"}},
        {"event_type": "PING", "sr_uuid": "PING", "reference_id": "PING", "timestamp": "PING"},
    ],
)
def test_nothing_that_a_payload_says_pings_anybody(body: dict[str, Any], ping: str) -> None:
    text = text_of(json.dumps(body).replace("PING", ping).encode())
    assert "<" not in text
    assert ">" not in text
    assert ping in html.unescape(text)


async def test_a_quarantined_message_is_announced_without_its_body(tmp_path: Path) -> None:
    outcome, heard = await posted(answer(200, b"ok"), tmp_path, b"\xff<!channel>")
    assert outcome == Delivered(200)
    text = json.loads(heard.body)["text"]
    assert "could not be read" in text
    assert "channel" not in text


async def test_a_rate_limit_defers(tmp_path: Path) -> None:
    outcome, _ = await posted(answer(429, b"rate_limited", retry_after="30"), tmp_path)
    assert isinstance(outcome, Defer)
    assert (outcome.reason, outcome.after, outcome.status) == (Reason.RATE_LIMITED, 30.0, 429)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410, 429, 500, 503])
async def test_every_other_refusal_is_a_retry(status: int, tmp_path: Path) -> None:
    outcome, _ = await posted(answer(status, b"no_service", location="http://127.0.0.1:1/"), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)


async def test_a_connection_closed_before_an_answer_is_a_reset(tmp_path: Path) -> None:
    async with (
        after_request(reset=True) as server,
        opened(SlackConfig(webhook_url=ref("HOOK")), tmp_path, HOOK=server.url) as sink,
    ):
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.RESET


def test_a_very_long_event_is_cut_and_says_so() -> None:
    sides = [{"side": f"Side {number}", "reason": "x" * 900} for number in range(200)]
    text = text_of(json.dumps({"event_type": "media_rejected", "sides": sides}).encode())
    assert len(text) < 12_000
    assert " more)" in text


def test_a_retry_says_the_same() -> None:
    assert render(outgoing(attempt=1)) == render(outgoing(attempt=9))
