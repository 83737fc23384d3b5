"""Bodies with a right signature: a JSON object of any shape is accepted, and anything else is quarantined."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.process.requests.refusals import BODY
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed


def stored(running: Running, sender_id: str) -> list[tuple[Any, ...]]:
    return running.rows("SELECT body, status FROM messages WHERE sender_id = ?", sender_id.encode())


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
"""Depths around the limits of recursion of Python and msgspec."""


@pytest.mark.parametrize("body", QUARANTINED.values(), ids=QUARANTINED)
async def test_a_signed_body_that_is_not_a_json_object_is_quarantined(running: Running, body: bytes) -> None:
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
