"""The audit log of a running gateway: its lines are an API, and neither it nor any other output shows a secret."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Mailbox, Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import SECRET, event, new_id, signed

IDS = {"message_id", "sender_id", "source", "event_type", "milestone", "sr_uuid", "reference_id"}
ALWAYS = {"v", "time", "event"}
NAMES: dict[str, set[str]] = {
    "gateway.started": {"detail"},
    "gateway.stopped": set(),
    "message.accepted": IDS | {"routes", "sinks", "body_sha256", "key", "sender_timestamp"},
    "message.unrouted": IDS,
    "message.duplicate": IDS | {"reason"},
    "message.quarantined": {"message_id", "sender_id", "source", "body_sha256", "key", "sender_timestamp", "detail"},
    "message.rejected": {"source", "reason", "detail", "addresses"},
    "delivery.delivered": IDS | {"sink", "delivery_id", "attempt", "status", "duration_ms"},
    "delivery.retrying": IDS | {"sink", "delivery_id", "attempt", "status", "duration_ms", "reason", "detail", "next_attempt_at"},
    "delivery.deferred": IDS | {"sink", "delivery_id", "attempt", "status", "duration_ms", "reason", "detail", "next_attempt_at"},
    "audit.sealed": {"number", "lines", "root", "seal"},
    "delivery.dead": IDS | {"sink", "delivery_id", "attempt", "status", "duration_ms", "reason", "detail"},
}
"""The fields of each event (docs/reference.md, "Audit log"). To rename one breaks the tools of every partner."""
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver) -> Iterator[Running]:
    more = 'retry = ["0s", "50ms"]'
    unless = 'unless = { sr_uuid = "nobody-asked" }'
    with (
        Running(tmp_path, http_sink(receiver, more=more) + route("erp", more=unless)) as running,
        no_traceback(running, alive=False),
    ):
        yield running


async def test_the_names_of_every_line_are_frozen(running: Running, receiver: Receiver) -> None:
    body, sender_id = event(), new_id()
    await running.post(body, signed(body, sender_id))
    await running.post(body, signed(body, sender_id))
    await running.post(event("nobody-asked"))
    await running.post(b"[]")
    await running.post(body, [])
    await until(lambda: running.audit("delivery.delivered"))
    receiver.script.extend([(429, {"Retry-After": "1"}), (500, {}), (500, {})])
    await running.post(event())
    await until(lambda: running.audit("delivery.dead"))
    assert await running.stop() == 0

    lines = running.audit() + running.audit("audit.sealed")
    assert {line["event"] for line in lines} == set(NAMES)
    for line in lines:
        assert set(line) == ALWAYS | NAMES[line["event"]], line
        assert list(line)[:3] == ["v", "time", "event"] and line["v"] == 1
        assert RFC3339.fullmatch(line["time"])
        assert RFC3339.fullmatch(line.get("next_attempt_at", line["time"]))
        assert all(isinstance(line[name], int) for name in ("attempt", "status", "duration_ms") if name in line)
        assert all(isinstance(value, (str, int)) or name in ("routes", "sinks", "addresses") for name, value in line.items())
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert [lines[at]["event"] for at in (0, -2, -1)] == ["gateway.started", "gateway.stopped", "audit.sealed"]


async def test_a_duplicate_with_another_body_is_marked_as_a_conflict(running: Running) -> None:
    sender_id = new_id()
    for body in (event(), event()):
        await running.post(body, signed(body, sender_id))
    (line,) = running.audit("message.duplicate")
    assert set(line) == ALWAYS | NAMES["message.duplicate"] | {"conflict"} and line["conflict"] is True


async def test_the_audit_line_is_written_before_the_answer(running: Running) -> None:
    for _ in range(30):
        answer = await running.post(event())
        assert running.audit("message.accepted", message_id=answer.json()["id"])


async def test_a_thousand_forged_requests_write_only_a_few_lines(running: Running) -> None:
    body = event()
    raw = request_bytes(body, [*signed(body)[:2], ("svix-signature", "v1,AAAA")])

    async def forge(times: int) -> None:
        async with running.connection() as (reader, writer):
            for _ in range(times):
                writer.write(raw)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                assert head.startswith(b"HTTP/1.1 401 ")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))

    began = time.monotonic()
    await asyncio.gather(*(forge(100) for _ in range(10)))
    await until(lambda: running.audit("message.rejected"))
    first, *_ = running.audit("message.rejected")
    assert (first["source"], first["reason"]) == ("legitmark", "bad_signature") and "count" not in first
    assert len(running.stderr()) < 3000
    metrics = (await running.admin("/metrics")).body.decode()
    assert 'legitmark_gateway_rejections_total{reason="bad_signature",source="legitmark"} 1000.0' in metrics
    # What was counted is not lost when it stops within the ten seconds.
    assert await running.stop() == 0
    _, *counted = running.audit("message.rejected")
    assert sum(line["count"] for line in counted) == 999
    assert len(counted) <= 1 + (time.monotonic() - began) // 10, "one line per ten seconds, and one at the stop"
    assert running.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_each_source_and_reason_of_a_refusal_has_its_own_line(running: Running) -> None:
    body = event()
    for _ in range(3):
        await running.post(body, [])
        await running.post(body, signed(body, age=900))
        await running.post(body, signed(body), path="/nowhere")
    await until(lambda: len(running.audit("message.rejected")) >= 3)
    assert await running.stop() == 0
    lines = [line for line in running.audit("message.rejected") if "count" not in line]
    assert Counter((line.get("source"), line["reason"]) for line in lines) == {
        ("legitmark", "missing_signature"): 1,
        ("legitmark", "stale_timestamp"): 1,
        (None, "not_found"): 1,
    }


@pytest.mark.parametrize("create", [True, False], ids=["create", "nocreate"])
async def test_a_rotation_by_rename_neither_loses_nor_tears_a_line(running: Running, create: bool) -> None:
    rotated = running.folder / "audit.jsonl.1"
    ids = [(await running.post(event())).json()["id"] for _ in range(5)]
    await until(lambda: len(running.audit("delivery.delivered")) == 5)
    running.audit_file.rename(rotated)
    if create:
        running.audit_file.touch(0o640)
    old = rotated.read_bytes()
    sending = [asyncio.create_task(running.post(event())) for _ in range(30)]
    ids += [answer.json()["id"] for answer in await asyncio.gather(*sending)]
    await until(lambda: len(running.audit("delivery.delivered")) == 30)
    assert rotated.read_bytes() == old
    new = running.audit()
    running.audit_file.write_bytes(old + running.audit_file.read_bytes())
    lines = running.audit()
    assert Counter(line["message_id"] for line in lines if line["event"] == "message.accepted") == dict.fromkeys(ids, 1)
    assert Counter(line["message_id"] for line in lines if line["event"] == "delivery.delivered") == dict.fromkeys(ids, 1)
    assert len(new) == 60


async def test_a_rotation_in_the_middle_of_traffic_loses_no_line(running: Running) -> None:
    rotated = running.folder / "audit.jsonl.1"
    sending = [asyncio.create_task(running.post(event())) for _ in range(100)]
    await until(lambda: len(running.audit()) > 10)
    running.audit_file.rename(rotated)
    ids = {answer.json()["id"] for answer in await asyncio.gather(*sending)}
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == [(100,)])
    assert await running.stop() == 0
    kept = rotated.read_bytes()
    running.audit_file.write_bytes(kept + (running.audit_file.read_bytes() if running.audit_file.exists() else b""))
    assert Counter(line["message_id"] for line in running.audit("message.accepted")) == dict.fromkeys(ids, 1)
    assert Counter(line["message_id"] for line in running.audit("delivery.delivered")) == dict.fromkeys(ids, 1)


async def test_texts_of_the_sender_cannot_forge_a_line(running: Running) -> None:
    evil = 'x"}\n{"v":1,"event":"delivery.delivered"}\r\u2028\u2029\x1b[2J\u202e'
    body = event(evil, event_type=evil, reference_id=evil)
    answer = await running.post(body)
    await until(lambda: running.audit("delivery.delivered"))
    raw = running.audit_file.read_bytes()
    assert len(raw.splitlines()) == 3 == raw.count(b"\n") and b"\x1b" not in raw
    (line,) = running.audit("message.accepted")
    assert (line["message_id"], line["sr_uuid"], line["event_type"]) == (answer.json()["id"], evil, evil)


# --- secrets


class Secrets(NamedTuple):
    """Every kind of secret that a configuration can name, and traffic that fails in every way with them."""

    running: Running
    values: dict[str, str]


def whsec(text: str) -> str:
    return "whsec_" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.fixture
def everything(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Secrets]:
    with Receiver() as receiver, Receiver() as slack, Mailbox(free_port(), logins=False) as mailbox:
        values = {
            "LEGITMARK": SECRET,
            "OLD": whsec("the old secret of the source, 32+"),
            "ERP": whsec("the secret that signs what we send"),
            "BEARER": "bearer-7f3a9c",
            "TENANT": "tenant-key-51d2e8",
            "SLACK": slack.url("/services/T000/B000/slack-key-9b1c"),
            "SMTP": "smtp-password-4e7d",
            "ADMIN_TOKEN": "admin-token-2c8f",
        }
        receiver.always = (401, {"WWW-Authenticate": "Bearer bearer-7f3a9c"})
        slack.always = (403, {})
        toml = f"""
[admin]
listen = ["127.0.0.1:0"]
token = {{ env = "ADMIN_TOKEN" }}

[sources.legitmark]
secrets = [{{ env = "LEGITMARK" }}, {{ env = "OLD" }}]

[sinks.erp]
type = "http"
on_stale = "annotate"
url = "{receiver.url()}"
secret = {{ env = "ERP" }}
bearer = {{ env = "BEARER" }}
headers = {{ "x-tenant" = {{ env = "TENANT" }} }}
retry = ["0s", "50ms"]
breaker = {{ failures = 100 }}

[sinks.fraud_desk]
type = "slack"
webhook_url = {{ env = "SLACK" }}
retry = ["0s", "50ms"]
breaker = {{ failures = 100 }}

[sinks.customer_care]
type = "email"
host = "127.0.0.1"
port = {mailbox.port}
security = "none"
username = "gateway"
password = {{ env = "SMTP" }}
sender = "gateway@example.com"
recipients = ["care@example.com"]
retry = ["0s", "50ms"]
breaker = {{ failures = 100 }}

[[routes]]
source = "legitmark"
sinks = ["erp", "fraud_desk", "customer_care"]
"""
        running = Running(tmp_path, toml, values)
        running.from_scratch = True  # its command line and environment are looked at
        with running:
            yield Secrets(running, values)


async def test_no_secret_is_ever_written_anywhere(everything: Secrets) -> None:
    running, values = everything
    command = Path(f"/proc/{running.process.pid if running.process else 0}/cmdline").read_bytes()
    body = event()
    authorized = [("Authorization", f"Bearer {values['ADMIN_TOKEN']}")]
    said = bytearray(command)
    assert (await running.post(body)).status == 200
    assert (await running.post(body2 := event(), signed(body2, secret=values["OLD"]))).status == 200
    for headers in ([], signed(body, age=900), signed(body, secret=values["ERP"]), [("x-api-key", "x")]):
        said += (await running.post(body, headers)).body
    said += (await running.admin("/-/ready")).body
    said += (await running.admin("/-/ready", [("Authorization", "Bearer wrong")])).body
    await until(lambda: len(running.audit("delivery.dead")) == 4)
    await until(lambda: [line["sink"] for line in running.audit("sink.opened")] == ["customer_care"])  # its login is refused
    said += (await running.admin("/metrics", authorized)).body
    await running.restart()
    assert await running.stop() == 0
    for path in running.folder.iterdir():
        if path.is_file():
            said += path.read_bytes()
    assert b"delivery.dead" in said and b"SQLite format 3" in said and b"gateway.started" in said
    for name, value in values.items():
        for form in forms(value):
            assert form not in said, name


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, and as it would look on the wire or decoded."""
    yield secret.encode()
    if secret.startswith("whsec_"):
        yield secret.removeprefix("whsec_").encode()
        yield base64.b64decode(secret.removeprefix("whsec_"))
    elif secret.startswith("http"):
        yield secret.rpartition("/")[2].encode()
    else:
        yield base64.b64encode(secret.encode())
        yield base64.b64encode(b"\0gateway\0" + secret.encode())
