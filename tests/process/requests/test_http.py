"""Sizes, encodings, methods, paths, connections, and requests that are hardly HTTP (docs/reference.md, "Receiving webhooks")."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from tests.process.requests.refusals import BODY, MAX_BODY, chunked, refused, with_signature
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import PATH, event, new_id, signed


async def test_a_body_of_exactly_max_body_is_accepted(running: Running) -> None:
    body = b'{"a":"' + b"x" * (MAX_BODY - 8) + b'"}'
    assert (await running.post(body)).outcome == (200, "accepted")


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
    refused(await running.send(head), 413, "body_too_large")  # and not 408, as after five seconds without a body


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", "", "gzip, deflate"])
async def test_a_content_encoding_is_refused(running: Running, encoding: str) -> None:
    body = gzip.compress(BODY)
    refused(await running.post(body, [("Content-Encoding", encoding), *signed(body)]), 415, "unsupported_encoding")


async def test_a_gzip_bomb_is_refused_without_being_unpacked(running: Running) -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 9)
    assert len(bomb) < MAX_BODY
    before = running.cpu_seconds()
    attacks = [running.post(bomb, [("Content-Encoding", "gzip"), *signed(bomb)]) for _ in range(4)]
    *answers, good = await asyncio.gather(*attacks, running.post(event()))
    for answer in answers:
        refused(answer, 415, "unsupported_encoding")
    assert good.outcome == (200, "accepted")
    assert running.cpu_seconds() - before < 1.0, "to unpack four of them takes several seconds"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"])
async def test_another_method_is_refused_with_the_allowed_one(running: Running, method: str) -> None:
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
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"


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
async def test_a_request_with_several_faults_is_answered_by_the_first_in_the_documented_order(running: Running, at: int) -> None:
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
async def test_a_request_that_is_hardly_http_is_answered_4xx_or_its_connection_is_closed(running: Running, raw: bytes) -> None:
    try:
        answer = await running.send(raw)
    except ConnectionError:
        return  # a connection that is closed without an answer is fine too
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
    """The unread body of a refused request must not be taken for the next request."""
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
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert head.startswith(b"HTTP/1.1 %d " % status), status
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
