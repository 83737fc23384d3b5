"""The reader of plain requests may decline, and never differ: whatever it reads, aiohttp's parser reads the same."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import HttpVersion11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, find, given, settings
from hypothesis import strategies as st

from gateway.web.server.plain_request import PlainRequest, read

PLAIN = b"POST /webhooks/legitmark HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nsvix-id: msg_1\r\n\r\n{}"


def as_aiohttp_reads(data: bytes) -> PlainRequest | None:
    """Return what aiohttp's parser makes of the bytes: one whole request on a connection that stays open; None otherwise."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            BaseProtocol(loop), loop, 2**16, max_line_size=8190, max_field_size=8190, auto_decompress=False
        )
        try:
            messages, upgraded, tail = parser.feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1 or upgraded or tail:
            return None
        message, payload = messages[0]
        if message.method != "POST" or message.version != HttpVersion11 or message.should_close or message.chunked:
            return None
        if message.url.raw_query_string or message.url.raw_fragment or not payload.is_eof():
            return None
        body = payload.read_nowait()
        # A request that follows would show a body that was read too far, or not far enough.
        (following,), _, _ = parser.feed_data(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        assert following[0].path == "/next"
        assert message.path == message.url.path
        fields = {name.lower().encode(): value.encode("utf-8", "surrogateescape") for name, value in message.headers.items()}
        return PlainRequest(message.url.path, message.raw_headers, fields, body)
    finally:
        loop.close()


def check(data: bytes) -> bool:
    """Return True if the reader took the bytes; they are what aiohttp reads, then."""
    found = read(data)
    if found is not None:
        assert found == as_aiohttp_reads(data)
    return found is not None


def test_a_request_as_the_sender_sends_it_is_read() -> None:
    body = b'{"event_type":"state_change"}'
    raw = (
        b"POST /webhooks/legitmark HTTP/1.1\r\nHost: gateway.example:8080\r\nUser-Agent: Svix-Webhooks/1.24 (sender-9YMgn)\r\n"
        b"Content-Length: %d\r\nAccept: */*\r\nContent-Type: application/json\r\nConnection: Keep-Alive\r\n"
        b"svix-id: msg_2b\r\nsvix-timestamp: 1700000000\r\nsvix-signature: v1,a= v1,b=\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
    ) % len(body) + body
    found = read(raw)
    assert found is not None and check(raw)
    assert (found.path, found.body, found.fields[b"svix-signature"]) == ("/webhooks/legitmark", body, b"v1,a= v1,b=")
    assert found.raw_headers[1] == (b"User-Agent", b"Svix-Webhooks/1.24 (sender-9YMgn)")


HOSTILE = {
    "two lengths": PLAIN.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 2\r\n"),
    "two lengths that differ": PLAIN.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\ncontent-length: 7\r\n"),
    "a list of lengths": PLAIN.replace(b": 2\r\n", b": 2, 2\r\n"),
    "a signed length": PLAIN.replace(b": 2\r\n", b": +2\r\n"),
    "a length in hexadecimal": PLAIN.replace(b": 2\r\n", b": 0x2\r\n"),
    "a length with an underscore": PLAIN.replace(b": 2\r\n", b": 0_2\r\n"),
    "a length beyond 64 bits": PLAIN.replace(b": 2\r\n", b": 18446744073709551618\r\n"),
    "no length": PLAIN.replace(b"Content-Length: 2\r\n", b""),
    "a length without a value": PLAIN.replace(b": 2\r\n", b": \r\n"),
    "length and chunks": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding: chunked"),
    "length and a coding that is not known": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding: xchunked"),
    "chunks behind a space": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding : chunked"),
    "chunks behind a tab": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding:\tchunked"),
    "chunks behind a control character": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding: \x0bchunked"),
    "chunks in a folded line": PLAIN.replace(b"svix-id: msg_1", b"Transfer-Encoding:\r\n chunked"),
    "a folded line": PLAIN.replace(b"msg_1", b"msg\r\n _1"),
    "a space before the colon": PLAIN.replace(b"svix-id:", b"svix-id :"),
    "a space before the name": PLAIN.replace(b"svix-id:", b" svix-id:"),
    "no space after the colon": PLAIN.replace(b"svix-id: ", b"svix-id:"),
    "a space after the value": PLAIN.replace(b"msg_1", b"msg_1 "),
    "a line feed alone": PLAIN.replace(b"msg_1\r\n", b"msg_1\n"),
    "a carriage return alone": PLAIN.replace(b"msg_1\r\n", b"msg_1\rX: y\r\n"),
    "line feeds alone everywhere": PLAIN.replace(b"\r\n", b"\n"),
    "a head that ends in line feeds": PLAIN.replace(b"\r\n\r\n", b"\n\n"),
    "a NUL in a value": PLAIN.replace(b"msg_1", b"msg\x00_1"),
    "a NUL in a name": PLAIN.replace(b"svix-id", b"svix\x00id"),
    "bytes beyond ASCII": PLAIN.replace(b"msg_1", b"msg_\xff"),
    "a name without a value": PLAIN.replace(b"svix-id: msg_1", b"svix-id"),
    "a colon without a name": PLAIN.replace(b"svix-id", b""),
    "two hosts": PLAIN.replace(b"svix-id: msg_1", b"host: y"),
    "no host": PLAIN.replace(b"Host: x\r\n", b""),
    "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "http/1.1": PLAIN.replace(b"HTTP/1.1", b"http/1.1"),
    "HTTP/0.9": b"POST /webhooks/legitmark\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a method in lower case": PLAIN.replace(b"POST", b"post"),
    "another method": PLAIN.replace(b"POST", b"PUT"),
    "a space before the method": b" " + PLAIN,
    "an empty line before the request": b"\r\n" + PLAIN,
    "two spaces before the path": PLAIN.replace(b"POST /", b"POST  /"),
    "a tab before the path": PLAIN.replace(b"POST /", b"POST\t/"),
    "a space after the version": PLAIN.replace(b"HTTP/1.1\r\n", b"HTTP/1.1 \r\n"),
    "an absolute target": PLAIN.replace(b"/webhooks", b"http://x/webhooks"),
    "an authority as the target": PLAIN.replace(b"/webhooks/legitmark", b"x:80"),
    "an asterisk as the target": PLAIN.replace(b"/webhooks/legitmark", b"*"),
    "an escaped path": PLAIN.replace(b"/legitmark", b"/%6cegitmark"),
    "an escaped slash": PLAIN.replace(b"/legitmark", b"%2flegitmark"),
    "a path with dot segments": PLAIN.replace(b"/legitmark", b"/../legitmark"),
    "a path with two slashes": PLAIN.replace(b"/webhooks", b"//webhooks"),
    "a path with a semicolon": PLAIN.replace(b"/legitmark", b"/legitmark;a"),
    "a path with a backslash": PLAIN.replace(b"/legitmark", b"\\legitmark"),
    "a path beyond ASCII": PLAIN.replace(b"/legitmark", b"/legitm\xc3\xa4rk"),
    "a query": PLAIN.replace(b"/legitmark", b"/legitmark?a=b"),
    "an empty query": PLAIN.replace(b"/legitmark", b"/legitmark?"),
    "a fragment": PLAIN.replace(b"/legitmark", b"/legitmark#a"),
    "a body that is cut": PLAIN[:-1],
    "a head that is cut": PLAIN[:-4],
    "bytes after the body": PLAIN + b"\r\n",
    "a pipelined request": PLAIN + PLAIN,
    "Expect": PLAIN.replace(b"svix-id: msg_1", b"Expect: 100-continue"),
    "Upgrade": PLAIN.replace(b"svix-id: msg_1", b"Connection: Upgrade\r\nUpgrade: websocket"),
    "h2c": PLAIN.replace(b"svix-id: msg_1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM"),
    "a connection that ends": PLAIN.replace(b"svix-id: msg_1", b"Connection: close"),
    "a connection that ends, by the name of a proxy": PLAIN.replace(b"svix-id: msg_1", b"Proxy-Connection: close"),
    "a connection with a list": PLAIN.replace(b"svix-id: msg_1", b"Connection: keep-alive, Content-Length"),
    "an old key of a websocket": PLAIN.replace(b"svix-id: msg_1", b"Sec-WebSocket-Key1: x"),
    "a name that came twice": PLAIN.replace(b"svix-id: msg_1", b"svix-id: msg_1\r\nSvix-Id: msg_2"),
    "too many headers": PLAIN.replace(b"svix-id: msg_1", b"\r\n".join(b"x-%d: y" % number for number in range(126))),
    "a name beyond the bound": PLAIN.replace(b"svix-id", b"x" * 8200),
    "a value beyond the bound": PLAIN.replace(b"msg_1", b"x" * 8200),
    "a path beyond the bound": PLAIN.replace(b"/legitmark", b"/" + b"x" * 8200),
    "a head beyond all bounds": PLAIN.replace(
        b"svix-id: msg_1", b"\r\n".join(b"x-%d: %b" % (at, b"y" * 900) for at in range(90))
    ),
    "nothing": b"",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"x" * 200,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_other_form_is_left_to_aiohttp(name: str) -> None:
    assert not check(HOSTILE[name])


def test_each_of_them_is_read_without_the_thing_that_it_is_about() -> None:
    assert check(PLAIN) and PLAIN not in HOSTILE.values()


TOKENS = st.text("abcXYZ019-_.~!", min_size=1, max_size=8).map(str.encode)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(lambda text: text.strip().encode())
NAMES = TOKENS | st.sampled_from(
    [b"Host", b"Content-Length", b"content-type", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"Keep-Alive"]
)
SPECIAL = st.sampled_from([b"2", b"02", b"chunked", b"close", b"keep-alive", b"gzip", b"websocket", b"100-continue", b"identity"])
BODIES = st.binary(min_size=1, max_size=30)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is plain or nearly so: its headers are in any order, and may repeat or contradict each other."""
    body = draw(BODIES)
    path = b"/" + b"/".join(draw(st.lists(TOKENS, min_size=1, max_size=3)))
    headers = [
        (b"Host", b"x"),
        (b"Content-Length", b"%d" % len(body)),
        *draw(st.lists(st.tuples(NAMES, VALUES | SPECIAL), max_size=5)),
    ]
    lines = b"".join(b"%b: %b\r\n" % header for header in draw(st.permutations(headers)))
    return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (path, lines, body)


def test_the_requests_that_are_drawn_are_read_often_enough() -> None:
    find(requests(), lambda raw: (found := read(raw)) is not None and len(found.raw_headers) > 4)


@given(requests())
@settings(max_examples=300)
def test_what_is_read_is_what_aiohttp_reads(raw: bytes) -> None:
    check(raw)


EDITS = st.sampled_from(
    [
        b"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x00",
        b":",
        b": ",
        b"%2f",
        b"/",
        b"?",
        b"#",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b",",
        b"0",
    ]
)


@given(requests(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), EDITS), min_size=1, max_size=3))
@example(PLAIN, [(0, 0, b"")])
@settings(max_examples=500)
def test_what_is_read_is_what_aiohttp_reads_wherever_bytes_are_changed(raw: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, removed, put in edits:
        at %= len(raw) + 1
        raw = raw[:at] + put + raw[at + removed :]
    check(raw)
