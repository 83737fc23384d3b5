"""The pure render functions under arbitrary events: whatever a payload says, the result is valid for its protocol."""

from __future__ import annotations

import email
import email.policy
import html
import json
import re
from email.message import EmailMessage
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.signature import Key
from gateway.core.values import Secret
from gateway.sinks import email as email_sink
from gateway.sinks import http, jsonl, slack, wording
from gateway.sinks.base import Outgoing
from tests.conftest import SECRET
from tests.fakes import START
from tests.sinks.parts import DELIVERY_ID, outgoing
from tests.sinks.test_email import HEADERS, SENDER
from tests.sinks.test_jsonl import KEYS

RECIPIENTS = ["care@example.com", "担当 <ops@example.com>"]
NASTY = [
    "\r\nBcc: victim@example.com\r\n\r\nbody",
    "\r\n.\r\nQUIT\r\n",
    "=?utf-8?q?=0D=0ABcc:_victim@example.com?=",
    "=?utf-8?b?DQpCY2M6IGFAYi5j?=",
    "=?x?q?",
    "<!here>",
    "<!channel|x>",
    "<@U1>",
    "&lt;!here&gt;",
    "*bold* _it_ `code`",
    "\u202eevil\u2066",
    "👩\u200d👩\u200d👧",
    "\x1b[2J\x07",
    "\x00",
    "\u2028",
    "\u2029",
    "\x85",
    "\ufeff",
    "日本語のとても長い文章",
    "x" * 2000,
    "、" * 1500,
    " " * 500,
    '"',
    "\\",
    "\\u0000",
    "\ud800",
    ": ; , ( ) < > @",
]
texts = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=60)), max_size=4).map("".join)
maybe: st.SearchStrategy[Any] = st.one_of(texts, st.none(), st.integers(), st.just({}), st.lists(texts, max_size=2))


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_type": draw(st.one_of(st.sampled_from(["state_change", "media_rejected", "invalidate_sr"]), texts)),
        "sides": draw(st.lists(st.fixed_dictionaries({"side": texts, "reason": texts, "message": texts}), max_size=4)),
        "invalidation_reason": {"code": draw(texts), "message": draw(texts)},
        "state": {"primary": draw(st.one_of(st.just("QC"), texts)), "supplement": draw(st.one_of(st.just("PENDING"), texts))},
    }
    for name in ("sr_uuid", "reference_id", "timestamp"):
        event[name] = draw(maybe)
    return event


deliveries = events().map(lambda event: outgoing(json.dumps(event).encode()))


@given(deliveries)
def test_slack_gets_valid_json_that_holds_no_markup_of_a_stranger(delivery: Outgoing) -> None:
    raw = slack.render(delivery)
    message = json.loads(raw.decode("utf-8"))
    assert message["unfurl_links"] is False
    text = message["text"]
    assert "<" not in text
    assert ">" not in text
    assert re.search(r"&(?!amp;|lt;|gt;)", text) is None
    plain = html.unescape(text.replace("&amp;", "&amp;amp;").replace("&amp;amp;", "&amp;"))
    assert wording.headline(delivery) in plain
    assert text.split("\n")[0].startswith("*")


@given(deliveries)
@example(
    outgoing(json.dumps({"event_type": "media_rejected", "reference_id": "=?utf-8?q?=0D=0ABcc:_victim@example.com?="}).encode())
)
@example(outgoing(json.dumps({"event_type": "media_rejected", "reference_id": "、" * 1500}).encode()))
def test_email_is_one_parseable_mail_with_one_subject(delivery: Outgoing) -> None:
    raw = email_sink.render(delivery, SENDER, RECIPIENTS).as_bytes()
    assert raw.isascii()
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"), "each line ends in CRLF (RFC 5321, section 2.3.8)"
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail.defects == []
    assert sorted(mail.keys()) == HEADERS
    assert mail["Message-ID"] == f"<{DELIVERY_ID}@example.com>"
    assert [address.addr_spec for address in mail["To"].addresses] == ["care@example.com", "ops@example.com"]
    text = mail.get_content().replace("\r\n", "\n")
    assert text.split("\n")[0] == wording.headline(delivery)
    assert text == "\n".join([wording.headline(delivery), "", *wording.lines(delivery), ""])
    assert "\n" not in mail["Subject"]
    assert raw == email_sink.render(delivery, SENDER, RECIPIENTS).as_bytes()


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
    for line in [wording.headline(delivery), *wording.lines(delivery)]:
        assert len(line.splitlines()) <= 1
        assert line.replace("\u3000", " ").isprintable()
        assert len(line) <= 2100
    assert sum(map(len, wording.lines(delivery))) <= wording.LONGEST_TEXT + 100


@given(texts)
def test_a_quarantined_message_has_words_for_people_too(body: str) -> None:
    delivery = outgoing(b"[" + json.dumps(body).encode() + b"]")
    assert delivery.event is None
    assert "could not be read" in json.loads(slack.render(delivery))["text"]
    assert "could not be read" in email_sink.render(delivery, SENDER, RECIPIENTS)["Subject"]
