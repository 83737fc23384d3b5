"""Whatever a client sends, it gets the answer of docs/reference.md, "Receiving webhooks", and the process stays whole."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.exchange import Answer, Headers, exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import PATH, SECRET, event, hmac_signature, new_id, signed

MAX_BODY = 256 * 1024
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 32 characters!").decode()
OPEN = "/webhooks/open"
CONFIG = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK" }]

[sources.open]
verify = "none"

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
sinks = ["archive"]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("bad_input"), CONFIG) as running:
        yield running
        answer = asyncio.run(running.post(event()))
        assert answer.outcome == (200, "accepted")


@pytest.fixture(autouse=True)
def unharmed(running: Running) -> Iterator[None]:
    with no_traceback(running):
        yield


def stored(running: Running, sender_id: str) -> list[tuple[Any, ...]]:
    return running.rows("SELECT body, status FROM messages WHERE sender_id = ?", sender_id.encode())


def refused(answer: Answer, status: int, code: str) -> None:
    """An error of section 5, in its shape."""
    assert answer.outcome == (status, code), answer
    assert set(answer.json()) == {"error", "detail"} and answer.json()["detail"]
    assert answer.header("webhook-delivery") is None


# --- bodies that never come: started with the module, so that their five seconds pass beside everything else


class Slow:
    """Requests that stop half-way, on threads of their own."""

    def __init__(self, running: Running) -> None:
        address = running.addresses["webhooks"]
        body = event()
        head = request_bytes(b"", [("Content-Length", str(len(body))), *signed(body)], length=False)
        chunked = request_bytes(b"", [("Transfer-Encoding", "chunked"), *signed(body)], length=False)
        unsigned = request_bytes(b"", [("Content-Length", "10")], length=False, path=OPEN)
        self.answers: dict[str, Answer | BaseException] = {}
        self._threads = [
            threading.Thread(target=self._send, args=(name, address, raw), daemon=True)
            for name, raw in {
                "no body": head,
                "half a body": head + body[:20],
                "half a chunk": chunked + b"20\r\n{",
                "no last chunk": chunked + b"2\r\n{}\r\n",
                "no signature": unsigned,
            }.items()
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, name: str, address: tuple[str, int] | Path, raw: bytes) -> None:
        try:
            self.answers[name] = asyncio.run(exchange(address, raw))
        except Exception as error:
            self.answers[name] = error

    def join(self) -> dict[str, Answer | BaseException]:
        for thread in self._threads:
            thread.join(20)
        return self.answers


@pytest.fixture(scope="module", autouse=True)
def slow(running: Running) -> Iterator[Slow]:
    slow = Slow(running)
    yield slow
    slow.join()


# --- signatures

BODY = event("sr-bad-input")


def without(name: str, family: str = "svix") -> Headers:
    return [(key, value) for key, value in signed(BODY, family=family) if key != f"{family}-{name}"]


def doubling(name: str) -> Headers:
    headers = signed(BODY)
    return [*headers, *[(key, value) for key, value in headers if key == name]]


def with_signature(value: str | bytes) -> Headers:
    return [*signed(BODY)[:2], ("svix-signature", value)]


def with_id(value: bytes) -> Headers:
    timestamp = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, value + b"." + timestamp.encode() + b"." + BODY, hashlib.sha256).digest()
    return [("svix-id", value), ("svix-timestamp", timestamp), ("svix-signature", "v1," + base64.b64encode(digest).decode())]


UNSIGNED: dict[str, Callable[[], Headers]] = {
    "nothing": list,
    "no svix-id": lambda: without("id"),
    "no svix-timestamp": lambda: without("timestamp"),
    "no svix-signature": lambda: without("signature"),
    "no webhook-id": lambda: without("id", "webhook"),
    "no webhook-timestamp": lambda: without("timestamp", "webhook"),
    "no webhook-signature": lambda: without("signature", "webhook"),
    "id of one family, the rest of the other": lambda: [signed(BODY)[0], *signed(BODY, family="webhook")[1:]],
    "whole webhook-* beside one svix-*": lambda: [*signed(BODY, family="webhook"), ("svix-id", "msg_1")],
    "an api key": lambda: [("x-api-key", SECRET)],
}
FORGED: dict[str, Callable[[], Headers]] = {
    "id doubled": lambda: doubling("svix-id"),
    "timestamp doubled": lambda: doubling("svix-timestamp"),
    "signature doubled": lambda: doubling("svix-signature"),
    "forged svix-* beside true webhook-*": lambda: [*signed(BODY, family="webhook"), *with_signature("v1,AAAA")],
    "garbage": lambda: with_signature("garbage"),
    "empty": lambda: with_signature(""),
    "commas": lambda: with_signature("v1,a,b"),
    "only a version": lambda: with_signature("v1,"),
    "doubled space": lambda: with_signature("v1,AAAA  v1,BBBB"),
    "bad base64": lambda: with_signature("v1,!!!!"),
    "another version": lambda: with_signature(str(signed(BODY)[2][1]).replace("v1,", "v2,")),
    "another case": lambda: with_signature(str(signed(BODY)[2][1]).replace("v1,", "V1,")),
    "without its version": lambda: with_signature(str(signed(BODY)[2][1]).removeprefix("v1,")),
    "without its last character": lambda: with_signature(str(signed(BODY)[2][1])[:-1]),
    "not UTF-8": lambda: with_signature(b"v1,\xff\xfe"),
    "UTF-8": lambda: with_signature("v1,ピント"),
    "very long": lambda: with_signature("v1," + "A" * 8000),
    "many": lambda: with_signature(" ".join(["v1,AAAA"] * 900)),
    "of another body": lambda: signed(BODY + b" "),
    "of another secret": lambda: signed(BODY, secret=OTHER_SECRET),
    "of another id": lambda: [("svix-id", "msg_other"), *signed(BODY)[1:]],
    "timestamp empty": lambda: signed(BODY, timestamp=""),
    "timestamp negative": lambda: signed(BODY, timestamp=f"-{int(time.time())}"),
    "timestamp with a sign": lambda: signed(BODY, timestamp=f"+{int(time.time())}"),
    "timestamp floating": lambda: signed(BODY, timestamp=f"{int(time.time())}.0"),
    "timestamp with an exponent": lambda: signed(BODY, timestamp="1e9"),
    "timestamp in hex": lambda: signed(BODY, timestamp=hex(int(time.time()))),
    "timestamp with an underscore": lambda: signed(BODY, timestamp="1_772_000_000"),
    "timestamp huge": lambda: signed(BODY, timestamp="9" * 400),
    "timestamp of 13 digits": lambda: signed(BODY, timestamp=f"{int(time.time() * 1000)}"),
    "timestamp in Arabic digits": lambda: signed(
        BODY, timestamp=str(int(time.time())).translate({48 + digit: 0x660 + digit for digit in range(10)})
    ),
    "timestamp nan": lambda: signed(BODY, timestamp="nan"),
    "id empty": lambda: with_id(b""),
    "id of 256 characters": lambda: with_id(b"x" * 256),
    "id with a tab": lambda: with_id(b"msg\t1"),
    "id not UTF-8": lambda: with_id(b"msg_\xff"),
    "id with a bidirectional mark": lambda: with_id("msg_\u202e1".encode()),
}
STALE: dict[str, Callable[[], Headers]] = {
    "301 s old": lambda: signed(BODY, age=301),
    "301 s ahead": lambda: signed(BODY, age=-302),
    "of 1970": lambda: signed(BODY, timestamp="0"),
    "of the year 33658": lambda: signed(BODY, timestamp="999999999999"),
}


@pytest.mark.parametrize("headers", UNSIGNED.values(), ids=UNSIGNED)
async def test_a_header_that_is_missing_is_said_so(running: Running, headers: Callable[[], Headers]) -> None:
    refused(await running.post(BODY, headers()), 401, "missing_signature")


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
async def test_what_does_not_fit_is_a_bad_signature(running: Running, headers: Callable[[], Headers]) -> None:
    refused(await running.post(BODY, headers()), 401, "bad_signature")


@pytest.mark.parametrize("headers", STALE.values(), ids=STALE)
async def test_a_right_signature_of_another_time_is_stale(running: Running, headers: Callable[[], Headers]) -> None:
    refused(await running.post(BODY, headers()), 401, "stale_timestamp")


async def test_a_wrong_signature_of_another_time_is_a_bad_one(running: Running) -> None:
    refused(await running.post(BODY, signed(BODY, age=9999, secret=OTHER_SECRET)), 401, "bad_signature")


def test_nothing_of_a_refused_request_is_kept(running: Running) -> None:
    assert running.rows("SELECT count(*) FROM messages WHERE body = ?", BODY) == [(0,)]


GOOD: dict[str, Callable[[bytes], Headers]] = {
    "webhook-*": lambda body: signed(body, family="webhook"),
    "names in capitals": lambda body: [(name.upper(), value) for name, value in signed(body)],
    "290 s old": lambda body: signed(body, age=290),
    "290 s ahead": lambda body: signed(body, age=-290),
    "true svix-* beside forged webhook-*": lambda body: [*signed(body), ("webhook-id", "x"), ("webhook-signature", "y")],
    "beside entries of a rotated secret and another version": lambda body: _amid(body, "v1,AAAA v2,BBBB {} v1a,CCCC"),
    "between doubled spaces": lambda body: _amid(body, "v1,AAAA  {}  garbage"),
    "an id of 255 characters": lambda body: signed(body, new_id().ljust(255, "x")),
}


def _amid(body: bytes, form: str) -> Headers:
    headers = signed(body)
    return [*headers[:2], ("svix-signature", form.format(headers[2][1]))]


@pytest.mark.parametrize("headers", GOOD.values(), ids=GOOD)
async def test_what_any_right_sender_may_do_is_accepted(running: Running, headers: Callable[[bytes], Headers]) -> None:
    body = event()
    answer = await running.post(body, headers(body))
    assert answer.outcome == (200, "accepted")
    assert answer.header("webhook-delivery") is None


# --- bodies

DEEP = 100_000
QUARANTINED: dict[str, bytes] = {
    "empty": b"",
    "white space": b"  \n ",
    "null": b"null",
    "a list": b'[{"event_type":"state_change"}]',
    "a number": b"17",
    "a text": b'"state_change"',
    "cut off": BODY[:-7],
    "two objects": b"{}{}",
    "not UTF-8": b'{"event_type":"\xff\xfe"}',
    "UTF-16": '{"event_type":"x"}'.encode("utf-16"),
    "NaN": b'{"event_type":"state_change","price":NaN}',
    "Infinity": b'{"event_type":"state_change","price":-Infinity}',
    "a trailing comma": b'{"event_type":"state_change",}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists in an object": b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * (DEEP // 3) + b"1" + b"}" * (DEEP // 3),
    "deep and cut off": b"[" * DEEP,
    "NUL": b"\0",
    "a form": b"event_type=state_change",
}
KEPT: dict[str, bytes] = {
    "an empty object": b"{}",
    "pretty-printed": json.dumps(json.loads(event("sr-pretty")), indent=4).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + event("sr-bom"),
    "duplicate keys": b'{"event_type":"state_change","event_type":"something","sr_uuid":"a","sr_uuid":"b"}',
    "a lone surrogate": b'{"event_type":"note","sr_uuid":"\\ud83d","reference_id":"\\udc00x"}',
    "a lone surrogate as event type": b'{"event_type":"\\ud800"}',
    "a lone surrogate as a key": b'{"event_type":"note","\\ud800":1}',
    "NUL in a text": b'{"event_type":"no\\u0000te","sr_uuid":"\\u0000"}',
    "texts of other types": b'{"event_type":1,"sr_uuid":["x"],"reference_id":{"a":1},"timestamp":true}',
    "a state that is a text": b'{"event_type":"state_change","sr_uuid":"sr-text","state":"COMPLETE","timestamp":"t"}',
    "a number beyond a double": b'{"event_type":"note","price":1e999}',
    "an integer of 1,000 digits": b'{"event_type":"note","price":' + b"7" * 1000 + b"}",
    "identity of huge integers": b'{"event_type":"media_rejected","sr_uuid":' + b"7" * 1000 + b',"timestamp":' + b"9" * 99 + b"}",
    "identity beyond a double": b'{"event_type":"media_rejected","sr_uuid":1e999,"timestamp":-1e999}',
    "identity with a lone surrogate": b'{"event_type":"media_rejected","sr_uuid":"\\ud800","timestamp":"t"}',
    "identity that is nested": b'{"event_type":"media_rejected","sr_uuid":[{"a":[{}]}],"timestamp":{"b":[1,2,null]}}',
    "100,000 keys": b"{" + b",".join(b'"%d":1' % at for at in range(20_000)) + b"}",
}
DEPTHS = [*range(850, 1010, 3)]
"""Around the depth where Python's and msgspec's recursion ends."""


@pytest.mark.parametrize("body", QUARANTINED.values(), ids=QUARANTINED)
async def test_what_is_signed_and_no_object_is_quarantined(running: Running, body: bytes) -> None:
    message_id = new_id()
    answer = await running.post(body, signed(body, message_id))
    assert answer.outcome == (200, "quarantined")
    assert stored(running, message_id) == [(body, "quarantined")]
    (line,) = running.audit(sender_id=message_id)
    assert (line["event"], line["message_id"], line["source"]) == ("message.quarantined", answer.json()["id"], "legitmark")


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
async def test_a_signed_object_of_any_shape_is_accepted(running: Running, body: bytes) -> None:
    message_id = new_id()
    answer = await running.post(body, signed(body, message_id))
    assert answer.outcome == (200, "accepted")
    assert stored(running, message_id) == [(body, "accepted")]
    await until(lambda: running.audit("delivery.delivered", sender_id=message_id))
    assert [line["event"] for line in running.audit(sender_id=message_id)] == ["message.accepted", "delivery.delivered"]


async def test_integers_of_10_000_digits_are_kept(running: Running) -> None:
    body = b'{"event_type":"note","price":' + b"7" * 10_000 + b"}"
    message_id = new_id()
    answer = await running.post(body, signed(body, message_id))
    assert answer.outcome in {(200, "accepted"), (200, "quarantined")}
    assert stored(running, message_id) == [(body, answer.json()["status"])]
    assert running.audit(sender_id=message_id)[0]["event"] == f"message.{answer.json()['status']}"


@pytest.mark.parametrize("field", ["extra", "sr_uuid", "state"])
async def test_nesting_at_the_edge_of_what_can_be_read_is_kept(running: Running, field: str) -> None:
    """No depth may lie between decode, identity, routing and rendering: each of them has its own limit."""
    ids = []
    for depth in DEPTHS:
        values = {"event_type": '"media_rejected"', "sr_uuid": f'"{field}-{depth}"', "timestamp": '"t"'}
        values |= {field: "[" * depth + "]" * depth}
        body = ("{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}").encode()
        ids.append(new_id())
        answer = await running.post(body, signed(body, ids[-1]))
        assert answer.outcome in {(200, "accepted"), (200, "quarantined")}, depth
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(0,)])
    for message_id in ids:
        lines = running.audit(sender_id=message_id)
        assert [line["event"] for line in lines] in (["message.accepted", "delivery.delivered"], ["message.quarantined"])


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"text/plain", b"application/json; charset=utf-16", b"caf\xc3\xa9", b"\xff\xfe", b"x" * 7000, b"a\tb", b'"'],
    ids=str,
)
async def test_no_content_type_keeps_a_signed_message_out(running: Running, content_type: bytes | None) -> None:
    body = event()
    headers = signed(body)
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    assert (await running.post(body, headers)).outcome == (200, "accepted")


# --- sizes, encodings, methods, paths


async def test_a_body_of_exactly_max_body_is_accepted(running: Running) -> None:
    body = b'{"a":"' + b"x" * (MAX_BODY - 8) + b'"}'
    assert (await running.post(body)).outcome == (200, "accepted")


def chunked(body: bytes, size: int = 16 * 1024) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


async def test_a_chunked_body_of_exactly_max_body_is_accepted(running: Running) -> None:
    body = b'{"b":"' + b"x" * (MAX_BODY - 8) + b'"}'
    head = request_bytes(b"", [("Transfer-Encoding", "chunked"), *signed(body)], length=False)
    assert (await running.send(head, chunked(body))).outcome == (200, "accepted")


@pytest.mark.parametrize("size", [MAX_BODY + 1, 4 * MAX_BODY])
async def test_a_larger_body_is_refused(running: Running, size: int) -> None:
    refused(await running.post(b"x" * size), 413, "body_too_large")


@pytest.mark.parametrize("size", [MAX_BODY + 1, 4 * MAX_BODY])
async def test_a_larger_chunked_body_is_refused(running: Running, size: int) -> None:
    body = b"x" * size
    head = request_bytes(b"", [("Transfer-Encoding", "chunked"), *signed(body)], length=False)
    refused(await running.send(head, chunked(body)), 413, "body_too_large")


async def test_a_larger_body_that_is_only_announced_is_refused_at_once(running: Running) -> None:
    head = request_bytes(b"", [("Content-Length", "99999999999"), *signed(b"")], length=False)
    answer = await running.send(head)
    refused(answer, 413, "body_too_large")
    assert answer.seconds < 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", "", "gzip, deflate"])
async def test_a_content_encoding_is_refused(running: Running, encoding: str) -> None:
    body = gzip.compress(BODY)
    refused(await running.post(body, [("Content-Encoding", encoding), *signed(body)]), 415, "unsupported_encoding")


async def test_a_gzip_bomb_is_refused_without_delay_for_others(running: Running) -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 9)
    assert len(bomb) < MAX_BODY
    attacks = [running.post(bomb, [("Content-Encoding", "gzip"), *signed(bomb)]) for _ in range(4)]
    *answers, good = await asyncio.gather(*attacks, running.post(event()))
    for answer in answers:
        refused(answer, 415, "unsupported_encoding")
    assert good.outcome == (200, "accepted") and good.seconds < 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"])
async def test_another_method_is_refused_and_told_which_is_allowed(running: Running, method: str) -> None:
    answer = await running.send(request_bytes(b"", method=method))
    refused(answer, 405, "method_not_allowed")
    assert answer.header("allow") == "POST"


@pytest.mark.parametrize(
    "path",
    ["/", "/webhooks", PATH + "/", PATH + "x", "//", PATH.upper(), "/metrics", "/-/healthy", "/%00", "/%C3%A9"],
)
async def test_another_path_is_not_found(running: Running, path: str) -> None:
    refused(await running.post(BODY, path=path), 404, "not_found")


async def test_a_query_does_not_hide_the_path(running: Running) -> None:
    assert (await running.post(event(), path=PATH + "?from=svix")).outcome == (200, "accepted")


async def test_expect_100_continue_is_asked_to_go_on(running: Running) -> None:
    body = event()
    headers = [("Expect", "100-continue"), ("Content-Length", str(len(body))), *signed(body)]
    async with running.connection() as (reader, writer):
        writer.write(request_bytes(b"", headers, length=False))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert await asyncio.wait_for(reader.readline(), 3) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ({"path": "/nowhere"}, 404),
        ({"method": "PUT"}, 405),
        ({"headers": [("Content-Encoding", "gzip")]}, 415),
        ({"headers": [("Content-Length", str(MAX_BODY + 1))]}, 413),
    ],
    ids=str,
)
async def test_expect_100_continue_gets_the_refusal_in_place_of_a_continue(
    running: Running, request_line: dict[str, Any], status: int
) -> None:
    headers = [("Expect", "100-continue"), *request_line.pop("headers", [])]
    if "Content-Length" not in dict(headers):
        headers.append(("Content-Length", "10"))
    answer = await running.send(request_bytes(b"", headers, length=False, **request_line))
    assert (answer.status, answer.continued) == (status, False)
    assert answer.seconds < 2


ORDER = ["path", "method", "encoding", "size", "missing", "forged", "stale"]
CODES = {
    "path": (404, "not_found"),
    "method": (405, "method_not_allowed"),
    "encoding": (415, "unsupported_encoding"),
    "size": (413, "body_too_large"),
    "missing": (401, "missing_signature"),
    "forged": (401, "bad_signature"),
    "stale": (401, "stale_timestamp"),
}


@pytest.mark.parametrize("at", range(len(ORDER)), ids=ORDER)
async def test_of_several_faults_the_first_in_the_order_is_answered(running: Running, at: int) -> None:
    """Each request has one fault and all that come after it in the order."""
    faults = set(ORDER[at:])
    body = b"x" * (MAX_BODY + 1) if "size" in faults else BODY
    headers = [*signed(body, age=900 if "stale" in faults else 0)]
    if "forged" in faults:
        headers[2] = ("svix-signature", "v1,AAAA")
    if "missing" in faults:
        del headers[0]
    if "encoding" in faults:
        headers.append(("Content-Encoding", "gzip"))
    method = "PUT" if "method" in faults else "POST"
    path = "/nowhere" if "path" in faults else PATH
    refused(await running.send(request_bytes(body, headers, path=path, method=method)), *CODES[ORDER[at]])


# --- what is hardly HTTP

BROKEN: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a version that is not there": request_bytes(BODY).replace(b"HTTP/1.1", b"HTTP/9.9"),
    "a bad Content-Length": request_bytes(BODY, [("Content-Length", "ten")], length=False),
    "a negative Content-Length": request_bytes(BODY, [("Content-Length", "-1")], length=False),
    "two Content-Lengths": request_bytes(BODY, [("Content-Length", "1")]),
    "length and chunks": request_bytes(b"0\r\n\r\n", [("Transfer-Encoding", "chunked")]),
    "a bad chunk": request_bytes(b"zz\r\n{}\r\n0\r\n\r\n", [("Transfer-Encoding", "chunked"), *signed(b"{}")], length=False),
    "a chunk longer than it says": request_bytes(
        b"1\r\n{}{}\r\n0\r\n\r\n", [("Transfer-Encoding", "chunked"), *signed(b"{}")], length=False
    ),
    "an unknown transfer encoding": request_bytes(BODY, [("Transfer-Encoding", "banana")], length=False),
    "a header without a colon": b"POST / HTTP/1.1\r\nnothing\r\n\r\n",
    "a header of 100 KiB": request_bytes(BODY, with_signature("v1," + "A" * 100_000)),
    "a path of 100 KiB": request_bytes(BODY, path="/" + "a" * 100_000),
    "10,000 headers": request_bytes(BODY, [(f"x-{at}", "y") for at in range(10_000)]),
    "a bad URL": request_bytes(BODY, path="http://[::1/x"),
    "a bad port": request_bytes(BODY, path="http://a:99999999/x"),
    "a path not in UTF-8": request_bytes(BODY, path="/\udcff"),
    "CONNECT": request_bytes(BODY, method="CONNECT", path="127.0.0.1:1"),
    "an asterisk": request_bytes(BODY, method="OPTIONS", path="*"),
    "two Hosts": request_bytes(BODY, [("Host", "x")]),
    "an upgrade": request_bytes(BODY, [("Connection", "Upgrade"), ("Upgrade", "websocket")]),
    "an upgrade of a signed request": request_bytes(BODY, [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("svix-id", "x")]),
    "NUL in a header": request_bytes(BODY, with_signature(b"v1,\0")),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_what_is_hardly_http_is_the_clients_fault(running: Running, raw: bytes) -> None:
    try:
        answer = await running.send(raw, seconds=8)
    except ConnectionError:
        return  # closed without a word is an answer too
    assert 400 <= answer.status < 500, answer
    if answer.body:
        assert set(answer.json()) == {"error", "detail"}
    assert b"hello" not in answer.body and b"banana" not in answer.body


async def test_clients_that_hang_up_half_way_leave_no_trace(running: Running) -> None:
    body = event()
    raw = request_bytes(body, signed(body))
    for end in (1, 20, len(raw) - len(body), len(raw) - 1):
        async with running.connection() as (_, writer):
            writer.write(raw[:end])
            await writer.drain()
    assert (await running.post(event())).outcome == (200, "accepted")


async def test_a_client_that_hangs_up_after_sending_is_still_stored(running: Running) -> None:
    body, message_id = event(), new_id()
    async with running.connection() as (_, writer):
        writer.write(request_bytes(body, signed(body, message_id)))
        await writer.drain()
        writer.write_eof()
        await until(lambda: running.audit("message.accepted", sender_id=message_id))


async def test_a_connection_serves_many_requests(running: Running) -> None:
    """What was refused with its body unread must not make its rest the next request."""
    async with running.connection() as (reader, writer):
        for status, raw in (
            (200, request_bytes(body := event(), signed(body))),
            (401, request_bytes(BODY)),
            (404, request_bytes(BODY, path="/nowhere")),
            (405, request_bytes(BODY, method="PUT")),
            (415, request_bytes(BODY, [("Content-Encoding", "gzip")])),
            (200, request_bytes(body := event(), signed(body))),
        ):
            writer.write(raw)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert head.startswith(b"HTTP/1.1 %d " % status), status
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))


# --- the source that believes everybody


async def test_an_unverified_body_that_is_no_json_object_is_refused(running: Running) -> None:
    for body in (b"", b"null", b"[1]", BODY[:-3], b"\xff", b"[" * 50_000):
        refused(await running.post(body, [], path=OPEN), 400, "malformed_body")
        assert running.rows("SELECT count(*) FROM messages WHERE body = ?", body) in ([(0,)], [(1,)])
    assert running.rows("SELECT count(*) FROM messages WHERE source = 'open' AND status = 'quarantined'") == [(0,)]


async def test_an_unverified_body_is_a_duplicate_of_the_same_body(running: Running) -> None:
    body = b'{"event_type":"note","text":"once"}'
    first, again = await running.post(body, [], path=OPEN), await running.post(body, [], path=OPEN)
    other = await running.post(body + b" ", [], path=OPEN)
    assert (first.outcome, again.outcome, other.outcome) == ((200, "accepted"), (200, "duplicate"), (200, "accepted"))
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    (line,) = running.audit("message.duplicate", source="open")
    assert line["reason"] == "message_id" and "sender_id" not in line and "conflict" not in line


async def test_two_sources_do_not_share_their_duplicates(running: Running) -> None:
    body = event()
    outcomes = [(await running.post(body, path=path)).outcome for path in (PATH, OPEN)]
    assert outcomes == [(200, "accepted")] * 2


# --- the end of the slow ones


async def test_another_request_is_answered_fast_while_bodies_do_not_come(running: Running) -> None:
    body = event()
    head = request_bytes(b"", [("Content-Length", "500"), *signed(body)], length=False)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            _, writer = await stack.enter_async_context(running.connection())
            writer.write(head + body[:10])
        answers = await asyncio.gather(*(running.post(event()) for _ in range(20)))
    assert {answer.outcome for answer in answers} == {(200, "accepted")}
    assert max(answer.seconds for answer in answers) < 1


@pytest.mark.parametrize("name", ["no body", "half a body", "half a chunk", "no last chunk", "no signature"])
def test_a_body_that_does_not_come_is_a_timeout_after_five_seconds(slow: Slow, name: str) -> None:
    answer = slow.join()[name]
    assert isinstance(answer, Answer), answer
    refused(answer, 408, "timeout")
    assert 4.5 < answer.seconds < 8


def test_a_forged_signature_gives_nothing_of_the_right_one_away(running: Running) -> None:
    timestamp = str(int(time.time()))
    right = hmac_signature("msg_x", timestamp, BODY)
    answer = asyncio.run(
        running.post(BODY, [("svix-id", "msg_x"), ("svix-timestamp", timestamp), ("svix-signature", right[:-4] + "AAA=")])
    )
    refused(answer, 401, "bad_signature")
    said = answer.body.decode() + running.stderr() + running.audit_file.read_text()
    assert right not in said and right[3:20] not in said and SECRET not in said
