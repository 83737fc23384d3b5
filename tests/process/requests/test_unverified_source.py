"""A source that verifies nothing refuses a body that is not a JSON object, and recognizes a duplicate by its body."""

from __future__ import annotations

from tests.process.requests.refusals import BODY, OPEN, refused
from tests.support.gateway_process import Running
from tests.support.webhooks import PATH, event


async def test_an_unverified_body_that_is_not_a_json_object_is_refused(running: Running) -> None:
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
