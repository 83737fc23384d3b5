"""The main job: a signed webhook arrives, as routed, at an HTTP endpoint, in a mailbox, in Slack and in a JSONL file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.configurations import http_sink
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Mailbox, Receiver
from tests.support.waiting import until
from tests.support.webhooks import PAYLOADS, event, new_id, signed

HOOK = "/services/T0/B0/hook-5Wd3"
SINK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MILESTONES = {
    "invalidate_sr.json": "invalidated",
    "media_rejected.coded.json": "needs_resubmission",
    "media_rejected.ja.json": "needs_resubmission",
    "media_rejected.json": "needs_resubmission",
    "state_change.cancelled.json": "cancelled",
    "state_change.complete_approved.json": "authentic",
    "state_change.complete_rejected.json": "counterfeit",
    "state_change.qc_rejected.json": "qc_rejected",
    "unknown_type.json": "unrecognized",
}
CONFIG = """
[sinks.fraud_desk]
type = "slack"
webhook_url = {{ env = "SLACK" }}

[sinks.customer_care]
type = "email"
host = "127.0.0.1"
port = {smtp}
security = "none"
sender = "Legitmark gateway <gateway@example.com>"
recipients = ["care@example.com", "desk@example.com"]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "everything that is documented"
match = {{ event_type = ["state_change", "media_rejected", "invalidate_sr", "certificate_issued"] }}
unless = [{{ sr_uuid = {{ prefix = "only-" }} }}, {{ sr_uuid = "nobody" }}]
sinks = ["erp", "fraud_desk", "customer_care", "archive"]

[[routes]]
name = "counterfeits only"
match = {{ milestone = "counterfeit", sr_uuid = {{ prefix = "only-" }} }}
sinks = ["erp"]

[[routes]]
name = "typed oddly"
match = {{ sr_uuid = {{ prefix = "only-typed" }} }}
sinks = ["erp", "archive"]

[[routes]]
name = "on purpose to nobody"
match = {{ sr_uuid = "nobody" }}
sinks = []
"""


class World(NamedTuple):
    running: Running
    receiver: Receiver
    mailbox: Mailbox

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines that the JSONL sink has written."""
        path = self.running.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[World]:
    with Receiver() as receiver, Mailbox(free_port()) as mailbox:
        toml = CONFIG.format(smtp=mailbox.port) + http_sink(receiver, "erp", 'secret = { env = "ERP" }')
        secrets = {"ERP": SINK_SECRET, "SLACK": receiver.url(HOOK)}
        with Running(tmp_path_factory.mktemp("main_job"), toml, secrets) as running:
            yield World(running, receiver, mailbox)


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    with no_traceback(world.running):
        yield


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.name)
async def test_every_sample_arrives_at_all_four_sinks(world: World, path: Path) -> None:
    body, sender_id = path.read_bytes(), new_id()
    values = json.loads(body)
    headers = [*signed(body, sender_id), ("Content-Type", "application/json; charset=utf-8")]
    answer = await world.running.post(body, headers)
    assert answer.outcome == (200, "accepted")
    message_id = answer.json()["id"]
    await until(lambda: len(world.running.audit("delivery.delivered", message_id=message_id)) == 4)

    (request,) = world.receiver.of(body)
    assert (request.path, request.body) == ("/erp", body)
    Webhook(SINK_SECRET).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SINK_SECRET).verify(request.body + b" ", request.headers)
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == f"{message_id}-erp"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 30
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["x-gateway-message-id"] == message_id
    assert request.headers["x-gateway-sender-id"] == sender_id
    assert request.headers["x-gateway-attempt"] == "1"
    assert request.headers["x-gateway-milestone"] == MILESTONES[path.name]
    assert "accept-encoding" not in request.headers and "cookie" not in request.headers

    (mail,) = [mail for mail in world.mailbox.mails if message_id in mail["Message-ID"]]
    part = mail.get_body(("plain",))
    assert part is not None
    text = part.get_content()
    assert mail["From"] == "Legitmark gateway <gateway@example.com>" and not mail.defects
    assert mail["To"] == "care@example.com, desk@example.com"
    assert values["sr_uuid"] in text and message_id in text
    assert (values["reference_id"] or "") in text and (values["reference_id"] or "") in mail["Subject"]

    said = [json.loads(request.body) for request in world.receiver.requests if request.path == HOOK]
    (slack,) = [message for message in said if message_id in message["text"]]
    assert slack["unfurl_links"] is False and values["sr_uuid"] in slack["text"]

    (line,) = [line for line in world.lines if line["message_id"] == message_id]
    received = line.pop("time")
    assert received.endswith("Z")
    assert line == {
        "v": 1,
        "message_id": message_id,
        "sender_id": sender_id,
        "source": "legitmark",
        "event_type": values["event_type"],
        "milestone": MILESTONES[path.name],
        "sr_uuid": values["sr_uuid"],
        "reference_id": values["reference_id"],
        "body": values,
    }

    accepted, *delivered = world.running.audit(message_id=message_id)
    assert (accepted["event"], accepted["routes"]) == ("message.accepted", ["everything that is documented"])
    assert sorted(accepted["sinks"]) == ["archive", "customer_care", "erp", "fraud_desk"]
    assert {line["delivery_id"] for line in delivered} == {f"{message_id}-{sink}" for sink in accepted["sinks"]}
    for table in (accepted, *delivered):
        assert (table["sender_id"], table["sr_uuid"]) == (sender_id, values["sr_uuid"])


HOSTILE = ["needs <b>& \"quotes'", "\r\nBcc: evil@example.com", "a\u2028b \u202e <!channel> <@U1>", "x" * 20_000]


@pytest.mark.parametrize("name", HOSTILE, ids=["markup", "a header", "controls", "long"])
async def test_texts_of_the_sender_cannot_do_harm(world: World, name: str) -> None:
    body = event(reference_id=name)
    message_id = (await world.running.post(body)).json()["id"]
    await until(lambda: len(world.running.audit("delivery.delivered", message_id=message_id)) == 4)
    (mail,) = [mail for mail in world.mailbox.mails if message_id in mail["Message-ID"]]
    assert mail["Bcc"] is None and not mail.defects and "\n" not in mail["Subject"]
    envelope = world.mailbox.envelopes[world.mailbox.mails.index(mail)]
    assert envelope.rcpt_tos == ["care@example.com", "desk@example.com"]
    said = [json.loads(request.body)["text"] for request in world.receiver.requests if request.path == HOOK]
    (text,) = [text for text in said if message_id in text]
    assert "<" not in text and ">" not in text
    (line,) = [line for line in world.lines if line["message_id"] == message_id]
    assert line["body"] == json.loads(body)


@pytest.mark.parametrize(
    ("body", "embedded"),
    [
        (
            b'{"sr_uuid":"only-typed1","n":1.0,"a":[ 1 ]}',
            b'"body":{"sr_uuid":"only-typed1","n":1.0,"a":[ 1 ]}}',
        ),
        (
            b'{\r\n  "event_type": "x",\n  "sr_uuid": "only-typed2", "sr_uuid": "only-typed2",\n "n": 1e2\n}\n',
            b'"body":{"event_type": "x","sr_uuid": "only-typed2", "sr_uuid": "only-typed2","n": 1e2}}',
        ),
        (
            b'{"sr_uuid":"only-typed3","big":123456789012345678901234567890,"t":"\\ud800\\n"}',
            b'"body":{"sr_uuid":"only-typed3","big":123456789012345678901234567890,"t":"\\ud800\\n"}}',
        ),
        (b'\xef\xbb\xbf{"sr_uuid":"only-typed4"}', b'"body":{"sr_uuid":"only-typed4"}}'),
        (
            '{"sr_uuid":"only-typed5","t":"バッグ\u2028"}'.encode(),
            '"body":{"sr_uuid":"only-typed5","t":"バッグ\u2028"}}'.encode(),
        ),
    ],
    ids=["plain", "pretty", "big numbers", "byte order mark", "Japanese"],
)
async def test_the_http_sink_gets_the_same_bytes_and_the_jsonl_sink_the_same_json(
    world: World, body: bytes, embedded: bytes
) -> None:
    message_id = (await world.running.post(body)).json()["id"]
    await until(lambda: len(world.running.audit("delivery.delivered", message_id=message_id)) == 2)
    (request,) = world.receiver.of(body)
    assert request.headers["x-gateway-message-id"] == message_id
    raw = (world.running.folder / "events.jsonl").read_bytes().split(b"\n")
    (line,) = [line for line in raw if message_id.encode() in line]
    assert line.endswith(embedded)


@pytest.mark.parametrize(
    "content_type", [None, b"text/plain", b"application/vnd.legitmark+json; v=2", b"caf\xc3\xa9", b"a\tb"], ids=str
)
async def test_the_content_type_is_passed_on_unchanged(world: World, content_type: bytes | None) -> None:
    body = event()
    headers = signed(body)
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    message_id = (await world.running.post(body, headers)).json()["id"]
    await until(lambda: world.receiver.of(body))
    (request,) = world.receiver.of(body)
    assert request.headers.get("content-type") == (None if content_type is None else content_type.decode())
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id, sink="erp"))


async def test_a_message_goes_only_where_a_route_says(world: World) -> None:
    counterfeit = event("only-1", state={"primary": "COMPLETE", "supplement": "REJECTED"})
    message_id = (await world.running.post(counterfeit)).json()["id"]
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    (accepted,) = world.running.audit("message.accepted", message_id=message_id)
    assert (accepted["routes"], accepted["sinks"]) == (["counterfeits only"], ["erp"])
    assert world.running.rows("SELECT sink FROM deliveries JOIN messages ON seq = message WHERE id = ?", message_id) == [("erp",)]


UNROUTED = {"unrouted": event("only-2"), "unknown type": b'{"event_type":"tea_served"}', "nothing": b"{}"}


@pytest.mark.parametrize("body", UNROUTED.values(), ids=UNROUTED)
async def test_a_message_that_no_route_matches_is_accepted_and_reported_as_unrouted(world: World, body: bytes) -> None:
    answer = await world.running.post(body)
    assert answer.outcome == (200, "accepted")
    message_id = answer.json()["id"]
    lines = world.running.audit(message_id=message_id)
    assert [line["event"] for line in lines] == ["message.accepted", "message.unrouted"]
    assert lines[0]["routes"] == lines[0]["sinks"] == []
    assert world.running.rows("SELECT status FROM messages WHERE id = ?", message_id) == [("unrouted",)]


async def test_a_route_with_an_empty_list_of_sinks_counts_as_matched(world: World) -> None:
    message_id = (await world.running.post(event("nobody"))).json()["id"]
    (line,) = world.running.audit(message_id=message_id)
    assert (line["event"], line["routes"], line["sinks"]) == ("message.accepted", ["on purpose to nobody"], [])


async def test_a_quarantined_message_is_not_routed(world: World) -> None:
    answer = await world.running.post(b'["state_change"]')
    message_id = answer.json()["id"]
    assert answer.outcome == (200, "quarantined")
    assert [line["event"] for line in world.running.audit(message_id=message_id)] == ["message.quarantined"]
    assert world.running.rows("SELECT count(*) FROM deliveries JOIN messages ON seq = message WHERE id = ?", message_id) == [(0,)]


async def test_every_id_is_a_uuid_of_version_7_and_larger_than_the_one_before(world: World) -> None:
    ids = [(await world.running.post(event())).json()["id"] for _ in range(5)]
    assert ids == sorted(ids)
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" and int(one, 16) for one in ids)
    assert abs(int(ids[0][:12], 16) / 1000 - time.time()) < 30
