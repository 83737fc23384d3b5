"""The pure render functions under arbitrary events: for any payload, the result is valid for its protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.conversation import Conversation
from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.sinks.base import Outgoing
from gateway.sinks.http import request as http
from gateway.sinks.jsonl import sink as jsonl
from gateway.sinks.slack import posts as slack
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.text.language import Language, Photo, Telling, tell
from tests.fakes import START
from tests.sinks.bodies import KEYS
from tests.sinks.sending import DELIVERY_ID, outgoing
from tests.sinks.slack_side import judged
from tests.sinks.slack_side import texts as texts_of
from tests.sinks.strategies import LINK, deliveries, events, texts
from tests.support.webhooks import SECRET


@given(deliveries)
@example(outgoing(json.dumps({"event_type": "media_rejected", "sides": [{"side": "\U0001f45c" * 100_000}] * 60}).encode()))
@example(outgoing(json.dumps({"event_type": "\U0001f45c" * 100}).encode()))
@example(outgoing(json.dumps({"event_type": "&" * 100_000, "sr_uuid": "<" * 100_000, "reference_id": "&" * 9_999}).encode()))
def test_slack_gets_valid_json_within_its_limits_without_markup_from_the_payload(delivery: Outgoing) -> None:
    writer = slack.Writer(SlackConfig(link="https://erp.example/{reference_id}/{sr_uuid}"))
    words = writer.words(delivery)
    assert words.failed == ""
    thread = Conversation("C1", "1.2", 0.0)
    for raw in (slack.first(words, None), slack.reply(words, thread), slack.edit(words, thread)):
        message = judged(json.loads(raw.decode("utf-8")))
        assert message.get("unfurl_links", False) is False
        assert "<" not in message["text"]
        assert ">" not in message["text"]
        assert re.search(r"&(?!amp;|lt;|gt;)", message["text"]) is None
        assert {text["type"] for text in texts_of(message["blocks"])} <= {"plain_text", "text", "link"}


@given(
    events(),
    st.sampled_from([None, 0, 1, 2, "\t"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\n "]),
)
def test_jsonl_is_one_line_that_holds_the_body(
    event: dict[str, Any], indent: int | str | None, ascii_only: bool, tight: bool, before: bytes
) -> None:
    separators = (",", ":") if tight else (" , ", " :\t")
    body = json.dumps(event, indent=indent, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "replace")
    line = jsonl.render(outgoing(before + body + b"\r\n"))
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert b"\r" not in line
    pairs = json.loads(line.decode("utf-8"), object_pairs_hook=lambda pairs: pairs)
    assert [name for name, _ in pairs] == [*KEYS, "body"]
    assert pairs[-1][1] == json.loads(body, object_pairs_hook=lambda pairs: pairs)
    if indent is None:
        assert line.endswith(b',"body":' + body + b"}\n")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_jsonl_is_one_line_for_any_bytes_at_all(body: bytes) -> None:
    line = jsonl.render(outgoing(body))
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    value = json.loads(line)
    assert list(value)[: len(KEYS)] == KEYS
    assert list(value)[len(KEYS) :] in (["body"], ["body_text"])


@given(st.binary(max_size=200), st.integers(1, 10**6))
def test_http_changes_no_byte_and_gives_no_header_a_line_break(body: bytes, attempt: int) -> None:
    request = http.render(outgoing(body, attempt=attempt), [Key(Secret(SECRET))], START)
    assert request.body == body
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == DELIVERY_ID
    assert request.headers["x-gateway-attempt"] == str(attempt)
    assert all(value.isprintable() for value in request.headers.values())


@given(deliveries)
def test_no_line_for_people_holds_a_line_break_or_a_control_character(delivery: Outgoing) -> None:
    for language in (Language("en"), Language("ja", "Asia/Tokyo")):
        telling = tell(delivery, language, LINK)
        for line in lines_of(telling):
            assert len(line.splitlines()) <= 1
            assert "".join(character for character in line if character not in "\u3000\u200c\u200d").isprintable()
            assert len(line) <= (2000 if line == telling.link else 1000)


def lines_of(telling: Telling) -> Iterator[str]:
    """Yield every text of a telling."""
    for value in msgspec.structs.astuple(telling):
        for inner in value if isinstance(value, tuple) else (value,):
            several = msgspec.structs.astuple(inner) if isinstance(inner, Photo) else inner
            yield from (text for text in (several if isinstance(several, tuple) else (several,)) if isinstance(text, str))


@given(texts)
def test_a_quarantined_message_has_words_for_people_too(body: str) -> None:
    delivery = outgoing(b"[" + json.dumps(body).encode() + b"]")
    assert delivery.event is None
    assert "could not be read" in json.loads(slack.render(delivery, SlackConfig()))["text"]
