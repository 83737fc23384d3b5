"""Signatures: which requests are refused, and with which error; everything that a correct sender may do is accepted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable

import pytest

from tests.process.requests.refusals import BODY, refused, with_signature
from tests.support.exchange import Headers
from tests.support.gateway_process import Running
from tests.support.webhooks import SECRET, event, hmac_signature, new_id, signed

OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 32 characters!").decode()


def without(name: str, family: str = "svix") -> Headers:
    return [(key, value) for key, value in signed(BODY, family=family) if key != f"{family}-{name}"]


def doubling(name: str) -> Headers:
    headers = signed(BODY)
    return [*headers, *[(key, value) for key, value in headers if key == name]]


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
async def test_a_missing_header_is_answered_missing_signature(running: Running, headers: Callable[[], Headers]) -> None:
    refused(await running.post(BODY, headers()), 401, "missing_signature")


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
async def test_a_malformed_or_wrong_signature_id_or_timestamp_is_answered_bad_signature(
    running: Running, headers: Callable[[], Headers]
) -> None:
    refused(await running.post(BODY, headers()), 401, "bad_signature")


@pytest.mark.parametrize("headers", STALE.values(), ids=STALE)
async def test_a_right_signature_at_the_wrong_time_is_answered_stale_timestamp(
    running: Running, headers: Callable[[], Headers]
) -> None:
    refused(await running.post(BODY, headers()), 401, "stale_timestamp")


async def test_a_wrong_signature_at_the_wrong_time_is_answered_bad_signature(running: Running) -> None:
    refused(await running.post(BODY, signed(BODY, age=9999, secret=OTHER_SECRET)), 401, "bad_signature")


def test_no_part_of_a_refused_request_is_kept(running: Running) -> None:
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
async def test_every_form_that_a_correct_sender_may_use_is_accepted(
    running: Running, headers: Callable[[bytes], Headers]
) -> None:
    body = event()
    answer = await running.post(body, headers(body))
    assert answer.outcome == (200, "accepted")
    assert answer.header("webhook-delivery") is None


def test_a_forged_signature_reveals_nothing_of_the_right_one(running: Running) -> None:
    timestamp = str(int(time.time()))
    right = hmac_signature("msg_x", timestamp, BODY)
    answer = asyncio.run(
        running.post(BODY, [("svix-id", "msg_x"), ("svix-timestamp", timestamp), ("svix-signature", right[:-4] + "AAA=")])
    )
    refused(answer, 401, "bad_signature")
    said = answer.body.decode() + running.stderr() + running.audit_file.read_text()
    assert right not in said and right[3:20] not in said and SECRET not in said
