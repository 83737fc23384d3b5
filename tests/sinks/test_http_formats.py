"""The formats of the `http` sink: the content of an envelope and of a CloudEvent, with the body in them as it came."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from gateway.core.outcome import Delivered
from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.host.clock import Clock
from gateway.sinks.http.config import Format, HttpConfig
from gateway.sinks.http.request import render
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.text.envelope import cloud_event, envelope
from tests.fakes import START
from tests.sinks.bodies import EMBEDDED, KEYS, TEXTS
from tests.sinks.http_server import HttpServer
from tests.sinks.sending import DELIVERY_ID, MESSAGE_ID, opened, outgoing, ref, send
from tests.support.webhooks import SECRET

CONTENT_TYPES: dict[Format, str] = {"envelope": "application/json", "cloudevents": "application/cloudevents+json"}
FORMATS: list[Format] = ["raw", "envelope", "cloudevents"]
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def cloud(body: bytes, **more: Any) -> dict[str, Any]:
    """Return a CloudEvent that meets the specification: JSON in UTF-8, each attribute once and of its type, none missing."""
    raw = cloud_event(outgoing(body, **more))
    pairs: list[tuple[str, Any]] = pairs_of(raw)
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]{1,20}|data_base64", name) for name in names)
    found = dict(pairs)
    assert found["specversion"] == "1.0"
    for name in {"id", "source", "type", "subject", "datacontenttype"} & set(names) | {"id", "source", "type"}:
        assert isinstance(found[name], str)
        assert found[name]
        assert _FORBIDDEN.search(found[name]) is None
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", found["source"]), "a relative reference of RFC 3986 that needs no escape"
    assert _RFC3339.fullmatch(found["time"])
    datetime.fromisoformat(found["time"])
    assert ("data" in found) != ("data_base64" in found)
    return found


def pairs_of(raw: bytes) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = json.loads(raw.decode("utf-8"), object_pairs_hook=lambda pairs: pairs)
    return found


def compact(raw: bytes) -> bytes:
    """Return JSON without the white space between its tokens. This is a reading of its own, apart from the one under test."""
    out, inside, escaped = bytearray(), False, False
    for byte in raw.removeprefix(b"\xef\xbb\xbf"):
        if inside:
            inside = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte in b" \t\r\n":
            continue
        else:
            inside = byte == 0x22
        out.append(byte)
    return bytes(out)


def value_of(raw: bytes, name: bytes) -> bytes:
    """Return the text of the last value of a document, by its name."""
    assert raw.endswith(b"}")
    at = raw.index(b',"%b":' % name)
    return raw[at + len(name) + 4 : -1]


async def test_the_envelope_is_the_line_of_a_jsonl_sink(payload: bytes, tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url, format="envelope"), tmp_path) as sink:
        assert await send(sink, outgoing(payload)) == Delivered(200)
    async with opened(JsonlConfig(path="events.jsonl"), tmp_path) as sink:
        await send(sink, outgoing(payload))
    assert server.heard[0].body + b"\n" == (tmp_path / "events.jsonl").read_bytes()


async def test_a_cloud_event_is_made_of_the_event(payload: bytes, tmp_path: Path) -> None:
    body = json.loads(payload)
    async with HttpServer() as server, opened(HttpConfig(url=server.url, format="cloudevents"), tmp_path) as sink:
        assert await send(sink, outgoing(payload)) == Delivered(200)
    found = json.loads(server.heard[0].body)
    instant = datetime.fromisoformat(found.pop("time"))
    assert instant == datetime.fromisoformat(body["timestamp"]).replace(microsecond=instant.microsecond)
    assert found == {
        "specversion": "1.0",
        "id": MESSAGE_ID,
        "source": "legitmark",
        "type": body["event_type"],
        "subject": body["sr_uuid"],
        "datacontenttype": "application/json",
        "data": body,
    }


@pytest.mark.parametrize("format_", CONTENT_TYPES)
async def test_the_headers_are_those_of_the_raw_format_and_the_signature_is_over_what_is_sent(
    format_: Format, payload: bytes, tmp_path: Path
) -> None:
    delivery = outgoing(payload, content_type="text/plain", attempt=3)
    async with HttpServer() as server:
        for each in (format_, "raw"):
            config = HttpConfig(url=server.url, format=each, secret=ref("SIGNING"))
            async with opened(config, tmp_path, Clock()) as sink:
                await send(sink, delivery)
    wrapped, raw = server.heard
    Webhook(SECRET).verify(wrapped.body, {name: value.decode() for name, value in wrapped.headers})
    assert wrapped.header("content-type") == CONTENT_TYPES[format_]
    assert wrapped.header("webhook-id") == wrapped.header("idempotency-key") == DELIVERY_ID
    own = {"content-type", "content-length", "webhook-signature", "webhook-timestamp"}
    assert [one for one in wrapped.headers if one[0] not in own] == [one for one in raw.headers if one[0] not in own]


@pytest.mark.parametrize("format_", FORMATS)
def test_each_attempt_sends_the_same_bytes(format_: Format, payload: bytes) -> None:
    bodies = {
        render(outgoing(payload, attempt=attempt), [Key(Secret(SECRET))], START + attempt, format_).body for attempt in (1, 2)
    }
    assert len(bodies) == 1


@pytest.mark.parametrize(("body", "embedded"), EMBEDDED, ids=[repr(body[:24]) for body, _ in EMBEDDED])
def test_json_stands_in_both_as_it_came(body: bytes, embedded: bytes | None) -> None:
    expected = body if embedded is None else embedded
    assert value_of(envelope(outgoing(body)), b"body") == expected
    assert value_of(cloud_event(outgoing(body)), b"data") == expected
    assert cloud(body)["datacontenttype"] == "application/json"


@pytest.mark.parametrize(("body", "text"), TEXTS, ids=[repr(body[:24]) for body, _ in TEXTS])
def test_a_body_that_is_not_json_is_text_in_an_envelope_and_base64_in_a_cloud_event(body: bytes, text: str) -> None:
    assert json.loads(envelope(outgoing(body)))["body_text"] == text
    found = cloud(body)
    assert base64.b64decode(found["data_base64"], validate=True) == body
    assert found["type"] == "unrecognized"
    assert "subject" not in found


@pytest.mark.parametrize(
    ("came", "said"),
    [
        ("text/plain", "text/plain"),
        ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("application/json", "application/octet-stream"),
        ("application/problem+JSON", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("text/plain\x00", "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_the_media_type_of_a_body_that_is_not_json_is_the_declared_one_unless_that_is_json(came: str | None, said: str) -> None:
    assert cloud(b"<p>", content_type=came)["datacontenttype"] == said


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        ("2026-03-02T09:14:27.512Z", "2026-03-02T09:14:27.512Z"),
        ("2026-03-02T18:14:27+09:00", "2026-03-02T09:14:27.000Z"),
        ("2026-03-02T09:14:27", "2026-03-02T09:14:27.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.9999Z", "2026-02-25T06:13:20.000Z"),
        ("9999-12-31T23:59:59-09:00", "2026-02-25T06:13:20.000Z"),
        ("yesterday", "2026-02-25T06:13:20.000Z"),
        (None, "2026-02-25T06:13:20.000Z"),
        (7, "2026-02-25T06:13:20.000Z"),
    ],
)
def test_the_time_of_a_cloud_event_is_the_events_own_or_that_of_its_arrival(timestamp: object, time: str) -> None:
    assert cloud(json.dumps({"timestamp": timestamp}).encode())["time"] == time


def test_a_drill_says_so_in_each_format() -> None:
    drill = msgspec.structs.replace(outgoing(), drill=True)
    for format_ in FORMATS:
        assert render(drill, [], START, format_).headers["x-gateway-drill"] == "true"
        assert "x-gateway-drill" not in render(outgoing(), [], START, format_).headers
    assert json.loads(envelope(drill))["drill"] is json.loads(cloud_event(drill))["drill"] is True
    assert render(drill, [], START).body == drill.body
    assert list(json.loads(envelope(outgoing()))) == [*KEYS, "body"]


# Whatever a body holds.

NASTY = [
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ufffe",
    "\U0001ffff",
    "\u2028",
    "\x85",
    "\x1b[31m",
    '"',
    "\\",
    "\r\n",
    "日本",
    "x" * 100_000,
    "",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=30), st.text(alphabet=st.characters(categories=["Cs"]), max_size=3))
numbers = st.one_of(
    st.sampled_from(["-0", "1.0", "1E+400", "1e-999", "0.1000000000000000000000000001", "9" * 400, "-" + "9" * 4000]),
    st.integers().map(str),
)
scalars = st.one_of(numbers, texts.map(json.dumps), st.sampled_from(["null", "true", "false", "[]", "{}"]))
names = st.one_of(texts, st.sampled_from(["event_type", "sr_uuid", "reference_id", "timestamp", "state", "data", "body"]))
blanks = st.sampled_from(["", " ", "\n", "\r\n\t", "   \n  "])


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> bytes:
    """Draw the text of a JSON object, with duplicate keys, numbers of any size, and white space anywhere."""
    values: st.SearchStrategy[str] = scalars
    if depth:
        inner = objects(depth - 1).map(bytes.decode)
        values = st.one_of(scalars, inner, st.lists(inner, max_size=2).map(lambda items: f"[{','.join(items)}]"))
    pairs = draw(st.lists(st.tuples(names.map(json.dumps), blanks, values, blanks), max_size=5))
    members = ",".join(f"{before}{name}{before}:{after}{value}{after}" for name, before, value, after in pairs)
    return f"{{{members}}}".encode()


@given(objects())
@example(b'{"event_type":"' + b"x" * 100_000 + b'","sr_uuid":"\\ud800\\u0000","event_type":"\\ufffe"}')
def test_any_object_stands_in_both_with_its_tokens_as_they_came(body: bytes) -> None:
    raw = envelope(outgoing(body))
    assert compact(value_of(raw, b"body")) == compact(body)
    assert [name for name, _ in pairs_of(raw)] == [*KEYS, "body"]
    assert compact(value_of(cloud_event(outgoing(body)), b"data")) == compact(body)
    cloud(body)
    assert b"\n" not in raw


@given(
    st.one_of(
        st.binary(max_size=200), texts.map(lambda text: text.encode("utf-8", "surrogatepass")), objects().map(lambda raw: raw[1:])
    )
)
def test_any_bytes_at_all_make_a_valid_document_of_both(body: bytes) -> None:
    found = json.loads(envelope(outgoing(body)))
    assert list(found)[: len(KEYS)] == KEYS
    event = cloud(body)
    assert ("body" in found) == ("data" in event)
    if "data_base64" in event:
        assert base64.b64decode(event["data_base64"], validate=True) == body
        assert found["body_text"] == body.decode("utf-8", "replace")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("format_", CONTENT_TYPES)
async def test_a_huge_body_arrives_whole_in_its_format(format_: Format, tmp_path: Path) -> None:
    body = b'{"a":"' + b"x" * 2_000_000 + b'"}'
    async with HttpServer() as server, opened(HttpConfig(url=server.url, format=format_), tmp_path) as sink:
        assert await send(sink, outgoing(body)) == Delivered(200)
    assert server.heard[0].body.endswith(b":" + body + b"}")
