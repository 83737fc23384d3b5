"""The documents that `docs/reference.md` describes are the ones that a running gateway answers, field by field."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.docs.reading import ROOT, marked, rows, text_of, words
from tests.support.configurations import GOOD_AND_DEAD
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, new_id, signed

DOCUMENTS = {words(row[0])[0]: words(row[1]) for row in rows(marked(text_of(ROOT / "docs/reference.md"), "documents"))}
"""The fields of each document, by its name in the reference."""

CONFIG = f"""{GOOD_AND_DEAD}
[reconcile]
url = "http://127.0.0.1:9/nobody-listens-here"
api_key = {{ env = "LEGITMARK_API_KEY" }}
[sinks.desk]
type = "jsonl"
path = "desk.jsonl"
[[routes]]
name = "everything"
sinks = ["archive", "erp"]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with a message that has a delivered and a dead delivery, and a duplicate with another body."""
    with Running(tmp_path_factory.mktemp("api"), CONFIG, {"LEGITMARK_API_KEY": "leo_pk_test_4711"}) as running:
        asyncio.run(fill(running))
        yield running


async def fill(running: Running) -> None:
    sender_id = new_id()
    for body in (event("sr-1"), event("sr-2")):
        await running.post(body, signed(body, sender_id))
    await until(lambda: running.audit("delivery.dead") and running.audit("delivery.delivered"))


def asked(running: Running, path: str) -> Any:
    return call(running, "GET", path, None)


def done(running: Running, path: str, document: object) -> Any:
    return call(running, "POST", path, json.dumps(document))


def call(running: Running, method: str, path: str, body: str | None) -> Any:
    """The JSON of an answer, which has to be 200."""
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    assert answer.status == 200, text
    return json.loads(text)


def hold(name: str, document: dict[str, Any], *without: str) -> None:
    """Compare the fields of a document with the reference; `without` are those that do not apply here."""
    assert list(document) == [field for field in DOCUMENTS[name] if field not in without]


def test_a_message_and_its_story_have_the_fields_that_the_reference_names(running: Running) -> None:
    (message,) = asked(running, "/api/messages")["messages"]
    hold("message", message)
    (story,) = asked(running, f"/api/messages/{message['message_id']}")["messages"]
    hold("story", story)
    hold("story's delivery", story["deliveries"][0], "held", "waits", "tells", "told_by")
    hold("conflict", story["conflicts"][0])
    hold("attempt", story["deliveries"][0]["attempts"][0])
    (attempt,) = asked(running, f"/api/messages/{message['message_id']}/attempts/erp")["attempts"]
    hold("attempt", attempt)


def test_a_service_request_has_the_fields_that_the_reference_names(running: Running) -> None:
    (request,) = asked(running, "/api/srs")["requests"]
    hold("request", request)
    found = asked(running, f"/api/srs/{request['sr_uuid']}?bodies=1")
    hold("found requests", found)
    assert found["requests"] == [request]
    hold("story of a request", found["story"])
    (event,) = found["story"]["events"]
    hold("event of a request", event)
    hold("delivery of a request", event["deliveries"][0], "held")
    (missing,) = event["not_told"]
    hold("not told", missing)
    for answer in (missing["then"], missing["now"]):
        hold("answer of rules", answer)


def test_a_delivery_and_a_sink_have_the_fields_that_the_reference_names(running: Running) -> None:
    for delivery in asked(running, "/api/deliveries")["deliveries"]:
        hold("delivery", delivery, "held", "waits", "tells", "told_by")
    for sink in asked(running, "/api/sinks")["sinks"]:
        hold("sink", sink, "held")


def test_the_status_has_the_fields_that_the_reference_names(running: Running) -> None:
    status = asked(running, "/api/status")
    hold("status", status)
    for sink in status["sinks"]:
        assert set(sink) == set(DOCUMENTS["status of a sink"])
    assert {field for one in status["attention"] for field in one} <= set(DOCUMENTS["attention"])


def test_acts_answer_the_fields_that_the_reference_names(running: Running) -> None:
    hold("progress", done(running, "/api/replay", {"selection": {"sink": "erp", "state": "dead"}, "dry_run": True}))
    hold("progress", done(running, "/api/discard", {"selection": {"sink": "erp"}, "dry_run": True}))
    (drill,) = done(running, "/api/drill", {"sink": "archive"})["drills"]
    hold("drill", drill)
    hold("redecoding", done(running, "/api/redecode", {"since": 0.0, "route": True}))
    for source in done(running, "/api/reverify", {})["sources"]:
        hold("reverified source", source)


def test_a_reconciliation_answers_the_fields_that_the_reference_names(running: Running) -> None:
    begun = done(running, "/api/reconcile", {"ids": ["sr-1"]})
    hold("reconciliation", begun)
    (job,) = asked(running, "/api/reconcile")["jobs"]
    hold("reconciliation", job)
    page = asked(running, f"/api/reconcile/{job['job']}")
    hold("reconciliation", page["job"])
    (request,) = page["requests"]
    hold("reconciled request", request)
    assert (request["result"], page["after"]) == ("failed", None), "the API takes only uuids"
    hold("reconciliation", done(running, f"/api/reconcile/{job['job']}/cancel", {}))


def test_a_backup_and_a_check_answer_the_fields_that_the_reference_names(running: Running, tmp_path: Path) -> None:
    hold("backup", done(running, "/api/backup", {"file": str(tmp_path / "copy.db")}))
    hold("check", done(running, "/api/check", {}))


def test_evidence_and_a_seal_have_the_fields_that_the_reference_names(running: Running) -> None:
    (message,) = asked(running, "/api/messages")["messages"]
    hold("evidence", asked(running, f"/api/messages/{message['message_id']}/evidence"))
    hold("seal", done(running, "/api/seal", {}))


def test_a_page_of_routing_has_the_fields_that_the_reference_names(running: Running) -> None:
    page = asked(running, "/api/routing")
    hold("routing", page)
    hold("routed message", page["messages"][0])
