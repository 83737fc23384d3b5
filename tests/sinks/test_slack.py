"""The `slack` sink: valid JSON that a person can read, and that cannot ping anybody."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import render
from gateway.sinks.text.templates import escape_slack as escape
from tests.sinks.http_server import Heard, HttpServer, after_request, answer
from tests.sinks.sending import opened, outgoing, ref, send
from tests.sinks.slack_side import judged, shown, texts
from tests.support.webhooks import PAYLOADS

CONFIG = SlackConfig(webhook_url=ref("HOOK"))


async def posted(reply: bytes, base: Path, body: bytes | None = None) -> tuple[Outcome, Heard]:
    async with (
        HttpServer(reply) as server,
        opened(SlackConfig(webhook_url=ref("HOOK")), base, HOOK=f"{server.url}/T0/B0/x?y=1") as sink,
    ):
        outcome = await send(sink, outgoing(body) if body is not None else None)
    assert len(server.heard) == 1
    return outcome, server.heard[0]


def message_of(body: bytes, **settings: Any) -> dict[str, Any]:
    return judged(json.loads(render(outgoing(body), SlackConfig(webhook_url=ref("HOOK"), **settings))))


def text_of(body: bytes) -> str:
    text = message_of(body)["text"]
    assert isinstance(text, str)
    return text


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
        ("invalidate_sr", "The service request was cancelled (CANCELLED)"),
        ("unknown_type", "certificate_issued"),
    ],
)
def test_a_person_can_read_what_happened(name: str, said: str) -> None:
    assert said in text_of((PAYLOADS / f"{name}.json").read_bytes())


def test_the_verdict_comes_first_with_one_emoji_then_the_item_the_short_id_and_when_in_the_time_zone_of_the_sink() -> None:
    body = (PAYLOADS / "state_change.complete_rejected.json").read_bytes()
    header, *blocks = message_of(body, timezone="Asia/Tokyo")["blocks"]
    assert header["text"]["text"] == "❌ The item is NOT authentic"
    said, event = shown(blocks), json.loads(body)
    assert f"Item: {event['reference_id']}" in said
    assert f"Service request: {event['sr_uuid'].split('-')[0]}\n" in said
    assert event["sr_uuid"] not in said
    assert "JST" in said


def test_each_photo_has_one_line_with_its_reason_and_what_to_do() -> None:
    (rich,) = [
        block for block in message_of((PAYLOADS / "media_rejected.json").read_bytes())["blocks"] if block["type"] == "rich_text"
    ]
    (photos,) = [element for element in rich["elements"] if element["type"] == "rich_text_list"]
    lines = ["".join(text["text"] for text in texts(item)) for item in photos["elements"]]
    guidance = "The stitching cannot be read. Hold the camera still and fill the frame with the front panel."
    assert lines == [f"Front: Out of focus — {guidance}", "Serial label: Glare"]


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("BAG 1/2?x=<&>", "https://erp.example/items/BAG%201%2F2%3Fx%3D%3C%26%3E"),
        ("バッグ", "https://erp.example/items/%E3%83%90%E3%83%83%E3%82%B0"),
        (None, None),
        ("", None),
        ("x" * 5000, None),
    ],
)
def test_one_link_leads_to_the_item_and_is_left_out_if_it_has_no_target(reference: str | None, url: str | None) -> None:
    body = json.dumps({"event_type": "invalidate_sr", "sr_uuid": "sr-1", "reference_id": reference}).encode()
    blocks = message_of(body, link="https://erp.example/items/{reference_id}")["blocks"]
    rich = [part for block in blocks if block["type"] == "rich_text" for part in block["elements"]]
    assert [link["url"] for part in rich for link in part["elements"] if link["type"] == "link"] == ([url] if url else [])


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
    message = message_of(json.dumps(body).replace("PING", ping).encode())
    text = message["text"]
    assert "<" not in text
    assert ">" not in text
    assert ping in html.unescape(text)
    assert message["mrkdwn"] is False
    assert {found["type"] for found in texts(message["blocks"])} <= {"plain_text", "text", "link"}


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
@pytest.mark.parametrize("said", [b"", b"server_error", b"rollup_error", b"no_service <!here>", b"{}", b"\xff"])
async def test_every_other_refusal_is_a_retry(status: int, said: bytes, tmp_path: Path) -> None:
    outcome, _ = await posted(answer(status, said, location="http://127.0.0.1:1/"), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)
    assert "here" not in outcome.detail


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (404, "no_service", "webhook_url"),
        (404, "channel_not_found", "channel"),
        (404, "user_not_found", "webhook_url"),
        (410, "channel_is_archived", "unarchive"),
        (403, "invalid_token", "webhook_url"),
        (403, "action_prohibited", "administrator"),
        (403, "team_disabled", "webhook_url"),
        (400, "posting_to_general_channel_denied", "administrator"),
        (404, "no_active_hooks", "webhook_url"),
    ],
)
async def test_a_webhook_that_accepts_no_message_opens_the_breaker_and_says_what_to_do(
    status: int, code: str, hint: str, tmp_path: Path
) -> None:
    outcome, _ = await posted(answer(status, code.encode()), tmp_path)
    assert isinstance(outcome, Retry) and outcome.sink_wide
    assert (outcome.reason, outcome.status) == (Reason.REJECTED, status)
    assert code in outcome.detail and hint in outcome.detail


@pytest.mark.parametrize("code", ["invalid_payload", "no_text", "too_many_attachments", "invalid_blocks"])
@pytest.mark.parametrize("plain_is_taken", [True, False])
async def test_a_message_that_a_webhook_refuses_is_sent_once_as_plain_text_before_it_is_dead(
    code: str, plain_is_taken: bool, tmp_path: Path
) -> None:
    def say(heard: Heard) -> bytes:
        plain = "blocks" not in json.loads(heard.body)
        return answer(200, b"ok") if plain and plain_is_taken else answer(400, code.encode())

    async with (
        HttpServer(say) as server,
        opened(SlackConfig(webhook_url=ref("HOOK")), tmp_path, HOOK=f"{server.url}/T0/B0/x") as sink,
    ):
        outcome = await send(sink)
    assert len(server.heard) == 2
    assert isinstance(outcome, Delivered if plain_is_taken else Reject)
    assert code in outcome.detail


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"<!doctype html><title>Sign in</title>",
        b"<html>ok</html>",
        b"OK then",
        b"okay",
        b"{}",
        b'{"ok":true}',
        b"\xff",
        b"null",
    ],
)
async def test_a_200_that_does_not_say_ok_is_not_delivered(said: bytes, tmp_path: Path) -> None:
    outcome, _ = await posted(answer(200, said), tmp_path)
    assert isinstance(outcome, Retry) and not outcome.sink_wide
    assert outcome.reason is Reason.PROTOCOL and "webhook_url" in outcome.detail


@pytest.mark.parametrize("status", [201, 202, 204])
async def test_any_other_status_of_success_is_not_delivered(status: int, tmp_path: Path) -> None:
    outcome, _ = await posted(answer(status, b"" if status == 204 else b"ok"), tmp_path)
    assert isinstance(outcome, Retry)


async def test_a_200_that_says_that_it_is_not_ok_is_not_delivered(tmp_path: Path) -> None:
    outcome, _ = await posted(answer(200, b'{"ok":false,"error":"internal_error"}'), tmp_path)
    assert outcome == Retry(Reason.REJECTED, "Slack says internal_error", 200, outcome.answer)  # type: ignore[union-attr]


async def test_a_connection_closed_before_an_answer_is_a_reset(tmp_path: Path) -> None:
    async with (
        after_request(reset=True) as server,
        opened(SlackConfig(webhook_url=ref("HOOK")), tmp_path, HOOK=f"{server.url}/T0/B0/x?y=1") as sink,
    ):
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.RESET


@pytest.mark.parametrize("reason", ["&" * 900, "👜" * 900, "x"])
@pytest.mark.parametrize("guidance", ["", "写" * 2000])
def test_a_very_long_event_is_cut_and_says_so(reason: str, guidance: str) -> None:
    sides = [{"side": f"Side {number}", "reason": reason, "message": guidance} for number in range(200)]
    message = message_of(json.dumps({"event_type": "media_rejected", "sides": sides}).encode())
    assert len(message["text"].encode()) <= 8 * 1024
    assert ("more)" in message["text"]) is (message["text"].count("- Side ") < 200)
    (list_,) = [part for block in message["blocks"] for part in block.get("elements", []) if part["type"] == "rich_text_list"]
    *photos, last = list_["elements"]
    assert shown(last["elements"]) == f"… (+{200 - len(photos)} more)"


def test_a_retry_says_the_same() -> None:
    assert render(outgoing(attempt=1), CONFIG) == render(outgoing(attempt=9), CONFIG)


def own(folder: Path, text: str) -> SlackConfig:
    (folder / "own.jinja").write_text(text, encoding="utf-8")
    return SlackConfig(webhook_url=ref("HOOK"), template=str(folder / "own.jinja"), link="https://erp.example/{reference_id}")


def test_an_operators_template_has_its_markup_and_the_payload_in_it_has_none(tmp_path: Path) -> None:
    config = own(tmp_path, "*{{ headline }}* <https://wiki.example|what to do>\n{{ reference }}")
    body = b'{"event_type":"x","sr_uuid":"1","reference_id":"<!channel>&"}'
    message = judged(json.loads(render(outgoing(body), config)))
    section, link, _ = message["blocks"]
    assert section["text"]["type"] == "mrkdwn" and section["text"]["verbatim"] is True
    assert section["text"]["text"] == message["text"]
    assert message["text"].endswith("<https://wiki.example|what to do>\n&lt;!channel&gt;&amp;")
    assert link["elements"][0]["elements"][0]["type"] == "link"


def test_a_long_text_of_an_operators_template_is_cut_between_two_characters(tmp_path: Path) -> None:
    config = own(tmp_path, "{% for n in range(40) %}{{ reference }}{% endfor %}")
    for before in range(7):
        body = json.dumps({"event_type": "x", "reference_id": "x" * before + "&" * 200}).encode()
        message = judged(json.loads(render(outgoing(body), config)))
        for said in (message["text"], *(block["text"]["text"] for block in message["blocks"] if block["type"] == "section")):
            assert html.unescape(said).replace("x", "").strip("&") == "…"


def test_an_empty_template_of_the_operator_leaves_the_built_in_blocks(tmp_path: Path) -> None:
    config = own(tmp_path, "{% if photos %}{{ headline }}{% endif %}")
    message = judged(json.loads(render(outgoing(), config)))
    assert message["text"] == "The item is authentic"
    assert message["blocks"][0]["type"] == "header"


async def test_an_operators_template_that_fails_is_replaced_by_the_built_in_one_and_the_outcome_says_so(tmp_path: Path) -> None:
    config = own(tmp_path, "{{ event.no.such }}")
    async with HttpServer(answer(200, b"ok")) as server, opened(config, tmp_path, HOOK=f"{server.url}/T0/B0/x?y=1") as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Delivered) and "own.jinja" in outcome.detail
    assert "The item is authentic" in json.loads(server.heard[0].body)["text"]


@pytest.mark.parametrize(
    ("said", "shown_"),
    [
        (b"see https://127.0.0.1/status", "see https://127.0.0.1/status"),
        (b"cannot POST /hook/T0/B0/x?y=1", "(it repeats a secret, and is not shown)"),
    ],
)
async def test_the_path_of_a_webhook_url_is_secret_and_the_host_is_not(said: bytes, shown_: str, tmp_path: Path) -> None:
    outcome, _ = await posted(answer(500, said), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.answer == shown_


async def test_the_query_of_a_webhook_url_without_a_path_is_secret(tmp_path: Path) -> None:
    async with HttpServer(answer(500, b"cannot POST /?key=hook-5Wd3")) as server:
        hook = f"http://127.0.0.1:{server.port}?key=hook-5Wd3"
        async with opened(SlackConfig(webhook_url=ref("HOOK")), tmp_path, HOOK=hook) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.answer == "(it repeats a secret, and is not shown)"
