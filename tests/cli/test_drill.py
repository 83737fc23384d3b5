"""`gateway drill`, through each of the four sinks of a running gateway; it leaves no trace in the database and the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.cli.serving import wait_until
from tests.support.configurations import http_sink
from tests.support.exchange import exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Mailbox, Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

SINK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = "/services/T0/B0/hook-5Wd3-never-shown"
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
recipients = ["care@example.com"]
locale = "ja"

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[sinks.nowhere]
type = "http"
on_stale = "annotate"
url = "http://127.0.0.1:{free}/hook"

[[routes]]
name = "everything"
match = {{ sr_uuid = {{ prefix = "never" }} }}
sinks = ["erp", "fraud_desk", "customer_care", "archive"]

[[routes]]
name = "with a hole"
match = {{ sr_uuid = "never" }}
sinks = ["archive", "nowhere"]

[[routes]]
name = "fragile"
match = {{ sr_uuid = "fragile" }}
sinks = ["fragile"]

[[routes]]
match = {{ sr_uuid = "nobody" }}
sinks = []
"""
FRAGILE = """
retry = ["0s", "1h"]
rate = "1/h"
concurrency = 1
timeout = "2s"
breaker = { failures = 1, probe = "1h" }
"""


class World(NamedTuple):
    running: Running
    receiver: Receiver
    mailbox: Mailbox

    def drill(self, *arguments: str) -> Result:
        host, port = self.running.addresses["admin"]  # type: ignore[misc]
        return command("drill", *arguments, "--admin", f"{host}:{port}", cwd=self.running.folder)

    def documents(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        result = self.drill(*arguments, "--json")
        assert (result.status, result.err) == (status, "")
        return [json.loads(line) for line in result.out.splitlines()]

    def kept(self) -> list[list[tuple[Any, ...]]]:
        """Return all rows of the database and the audit log, except the time, which the janitor updates, and the drills."""
        every = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'timeline' ORDER BY name"
        # `sink_acts` says that somebody drilled; neither the message nor a delivery of it is anywhere.
        tables = [name for (name,) in self.running.rows(every) if name not in ("sink_acts", "sqlite_sequence")]
        rows = [self.running.rows(f"SELECT * FROM {name}") for name in tables]
        return [*rows, [(json.dumps(line),) for line in self.running.audit() if line["event"] != "sink.drilled"]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[World]:
    with Receiver() as receiver, Mailbox(free_port()) as mailbox:
        sinks = http_sink(receiver, "erp", 'secret = { env = "ERP" }') + http_sink(receiver, "fragile", FRAGILE)
        toml = CONFIG.format(smtp=mailbox.port, free=free_port()) + sinks
        with Running(tmp_path_factory.mktemp("drill"), toml, {"ERP": SINK_SECRET, "SLACK": receiver.url(HOOK)}) as running:
            wait_until(lambda: running.audit("gateway.started") != [], "the start has no line in the audit log")
            yield World(running, receiver, mailbox)


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    with no_traceback(world.running):
        yield
    world.receiver.always = (200, {})
    world.receiver.release()


def test_a_route_is_drilled_through_every_sink_that_it_names(world: World) -> None:
    before = world.kept()
    said = world.documents("--route", "everything")
    assert [(one["sink"], one["outcome"], one["status"]) for one in said] == [
        ("erp", "delivered", 200),
        ("fraud_desk", "delivered", 200),
        ("customer_care", "delivered", 250),
        ("archive", "delivered", None),
    ]
    (message_id,) = {one["delivery_id"].removesuffix(f"-{one['sink']}") for one in said}

    (request,) = [request for request in world.receiver.requests if request.path == "/erp"]
    Webhook(SINK_SECRET).verify(request.body, request.headers)
    assert request.headers["x-gateway-drill"] == "true"
    assert request.headers["webhook-id"] == f"{message_id}-erp"
    assert json.loads(request.body)["reference_id"] == "TEST-ITEM-1042"

    (request,) = [request for request in world.receiver.requests if request.path == HOOK]
    slack = json.loads(request.body)
    assert "[TEST]" in slack["text"] and "[TEST]" in json.dumps(slack["blocks"]) and "TEST-ITEM-1042" in slack["text"]

    (mail,) = [mail for mail in world.mailbox.mails if message_id in mail["Message-ID"]]
    page = mail.get_body(("html",))
    text = mail.get_body(("plain",))
    assert page is not None and text is not None
    assert "[TEST]" in mail["Subject"] and "[TEST]" in text.get_content() and "[TEST]" in page.get_content()

    lines = [json.loads(line) for line in (world.running.folder / "events.jsonl").read_bytes().splitlines()]
    (line,) = [line for line in lines if line["message_id"] == message_id]
    assert line["drill"] is True and line["reference_id"] == "TEST-ITEM-1042"

    assert world.kept() == before, "a drill is nothing that the gateway keeps"


async def test_the_audit_log_says_who_drilled_which_sink_and_what_came_of_it(world: World) -> None:
    (one,) = world.documents("archive")
    await until(lambda: world.running.audit("sink.drilled", delivery_id=one["delivery_id"]))
    (line,) = world.running.audit("sink.drilled", delivery_id=one["delivery_id"])
    assert line["sink"] == "archive" and line["duration_ms"] == one["duration_ms"] and line["actor"]
    assert "reason" not in line

    failed = next(each for each in world.documents("--route", "with a hole", status=1) if each["outcome"] != "delivered")
    await until(lambda: world.running.audit("sink.drilled", delivery_id=failed["delivery_id"]))
    (line,) = world.running.audit("sink.drilled", delivery_id=failed["delivery_id"])
    assert (line["reason"], line["detail"]) == (failed["reason"], failed["detail"])


def test_every_sample_can_be_drilled_with_the_present_time(world: World) -> None:
    (one,) = world.documents("erp", "--event", "counterfeit")
    (request,) = [request for request in world.receiver.requests if request.headers.get("webhook-id") == one["delivery_id"]]
    assert request.headers["x-gateway-milestone"] == "counterfeit"
    (two,) = world.documents("erp", "--event", "counterfeit")
    (other,) = [request for request in world.receiver.requests if request.headers.get("webhook-id") == two["delivery_id"]]
    assert json.loads(request.body)["sr_uuid"] != json.loads(other.body)["sr_uuid"], "each drill has a service request of its own"


def test_a_person_reads_a_line_for_each_sink_with_its_answer(world: World) -> None:
    result = world.drill("--route", "with a hole")
    delivered, failed = result.out.splitlines()
    assert (result.status, result.err) == (1, "")
    assert delivered.startswith("archive: delivered: ") and delivered.endswith(" ms")
    assert failed.startswith("nowhere: not delivered: connect: 127.0.0.1:") and failed.endswith(" ms")


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "reason"),
    [
        (500, {}, "retry", "http_status"),
        (302, {"Location": "/elsewhere"}, "retry", "http_status"),
        (429, {"Retry-After": "7"}, "defer", "rate_limited"),
        (503, {"Retry-After": "7"}, "defer", "unavailable"),
    ],
)
def test_a_failed_drill_shows_the_answer_and_ends_with_1(
    world: World, status: int, headers: dict[str, str], outcome: str, reason: str
) -> None:
    world.receiver.always = (status, headers)
    before = world.kept()
    (one,) = world.documents("erp", status=1)
    assert (one["outcome"], one["status"], one["reason"]) == (outcome, status, reason)
    assert one["after"] == (7 if outcome == "defer" else None)
    assert world.kept() == before


def test_a_message_that_slack_never_takes_is_rejected_and_the_url_stays_secret(world: World) -> None:
    world.receiver.always = (404, {})
    result = world.drill("fraud_desk")
    assert result.status == 1
    assert result.out.startswith(("fraud_desk: rejected: ", "fraud_desk: not delivered: "))
    assert "hook-5Wd3" not in result.out + result.err + world.running.stderr()


def test_a_drill_of_a_sink_that_hangs_ends_with_its_timeout(world: World) -> None:
    world.receiver.hold()
    (one,) = world.documents("fragile", status=1)
    assert (one["outcome"], one["reason"]) == ("retry", "timeout")
    assert 1500 < one["duration_ms"] < 10_000


async def test_a_drill_goes_through_a_closed_gate_and_leaves_it_closed(world: World) -> None:
    world.receiver.always = (500, {})
    message_id = (await world.running.post(event("fragile"), None)).json()["id"]
    await until(lambda: world.running.audit("sink.opened", sink="fragile"))
    host, port = world.running.addresses["admin"]  # type: ignore[misc]
    paused = await asyncio.to_thread(command, "pause", "fragile", "--admin", f"{host}:{port}", cwd=world.running.folder)
    assert paused.status == 0
    world.receiver.always = (200, {})
    before = world.kept()
    for _ in range(3):
        (one,) = await asyncio.to_thread(world.documents, "fragile")
        assert one["outcome"] == "delivered"
    (sink,) = [sink for sink in (await world.running.admin("/api/sinks")).json()["sinks"] if sink["sink"] == "fragile"]
    assert (sink["breaker"], sink["queued"], bool(sink["paused_by"]), "500" in sink["last_error"]) == ("open", 1, True, True)
    assert world.kept() == before
    assert not world.running.audit("delivery.delivered", message_id=message_id)


async def test_a_drill_that_fails_opens_no_breaker_and_takes_no_slot(world: World) -> None:
    world.receiver.always = (500, {})
    for _ in range(4):
        await asyncio.to_thread(world.documents, "erp", status=1)
    world.receiver.always = (200, {})
    (sink,) = [sink for sink in (await world.running.admin("/api/sinks")).json()["sinks"] if sink["sink"] == "erp"]
    assert (sink["breaker"], sink["last_error"]) == ("closed", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["archiv"], 'there is no sink "archiv"; did you mean "archive"?'),
        (["--route", "everythin"], 'there is no route "everythin"; did you mean "everything"?'),
        (["archive", "--event", "autentic"], 'there is no sample "autentic"; did you mean "authentic"?'),
        (["archive", "--route", "everything"], "name a sink, or a route"),
        ([], "name a sink, or a route"),
        ([""], "is a shell variable not set"),
    ],
)
def test_an_unknown_sink_or_route_is_a_usage_error_with_a_suggestion(world: World, arguments: list[str], said: str) -> None:
    result = world.drill(*arguments)
    assert (result.status, result.out) == (2, "")
    assert said in result.err


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        (b"{}", 400, "of a sink or of a route"),
        (b'{"sink": "archive", "route": "everything"}', 400, "of a sink or of a route"),
        (b'{"sink": "archive", "event": "x"}', 400, "no sample"),
        (b'{"sink": "archive", "body": "{}"}', 400, "body"),
        (b"[]", 400, "object"),
        (b'{"sink": "archiv"}', 404, 'no sink "archiv"'),
    ],
)
async def test_the_api_names_an_unknown_sink_or_route(world: World, document: bytes, status: int, said: str) -> None:
    before = world.kept()
    answer = await exchange(world.running.addresses["admin"], request_bytes(document, path="/api/drill"))
    assert answer.status == status
    assert said in answer.json()["detail"]
    assert world.kept() == before


async def test_a_page_in_a_browser_can_not_drill(world: World) -> None:
    raw = request_bytes(b'{"sink": "archive"}', [("Origin", "https://evil.example")], path="/api/drill")
    assert (await exchange(world.running.addresses["admin"], raw)).status == 403


def test_a_route_without_sinks_can_not_be_drilled(world: World) -> None:
    result = world.drill("--route", "route 4")
    assert result.status == 1
    assert 'the route "route 4" names no sink' in result.err


def test_it_ends_with_69_if_no_gateway_answers(tmp_path: Path, free_port: Callable[[], int]) -> None:
    result = command("drill", "archive", "--admin", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert result.status == 69


async def test_a_drill_in_flight_ends_with_its_answer_when_the_gateway_stops(tmp_path: Path) -> None:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver, "erp")) as running:
        receiver.hold()
        host, port = running.addresses["admin"]  # type: ignore[misc]
        drilling = asyncio.create_task(asyncio.to_thread(command, "drill", "erp", "--admin", f"{host}:{port}", cwd=tmp_path))
        await until(lambda: receiver.requests)
        running.terminate()
        await until(lambda: "gateway.stopping" in running.stderr())
        receiver.release()
        result = await drilling
        assert (result.status, result.out.partition(";")[0]) == (0, "erp: delivered: 200")
        assert await running.exit_code() == 0
        assert "Traceback" not in running.stderr() and ".bug" not in running.stderr()
