"""`gateway redecode` applies what this version knows to messages that an earlier one did not understand."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.bench import Bench
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Two messages whose rows are those of a version that did not know their type, one of them quarantined."""
    with Receiver() as receiver:
        with Running(tmp_path, http_sink(receiver) + "[[routes]]\nsinks = []\n") as running:
            Bench(running, receiver).post(
                ("sr-1", "msg_one", "BAG-1"), ("sr-2", "msg_two", "BAG-2"), ("sr-3", "msg_three", "BAG-3")
            )
        with closing(sqlite3.connect(tmp_path / "gateway.db")) as database, database:
            unknown = "milestone = 'unrecognized', sr_uuid = NULL, reference_id = NULL, identity = NULL"
            database.execute(f"UPDATE messages SET {unknown} WHERE sender_id = CAST('msg_one' AS BLOB)")
            database.execute(
                "UPDATE messages SET milestone = NULL, event_type = NULL, sr_uuid = NULL, status = 'quarantined', identity = NULL"
                " WHERE sender_id = CAST('msg_two' AS BLOB)"
            )
        with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
            yield Bench(running, receiver)


def test_a_dry_run_counts_and_changes_nothing(bench: Bench) -> None:
    for _ in range(2):
        result = bench.run("redecode", "--since", "1d", "--dry-run", "--route")
        assert (result.status, result.err) == (0, "")
        assert result.out == ("2 messages not understood then; 2 of them understood now: 2 qc_pending; 2 deliveries to make\n")
    assert [one["status"] for one in bench.lines("messages")] == ["accepted", "quarantined", "accepted"]


def test_messages_get_their_meaning_an_audit_line_and_no_delivery(bench: Bench) -> None:
    document = bench.run("redecode", "--since", "1d", "--yes", "--json").document()
    assert document == {"looked_at": 2, "count": 2, "milestones": {"qc_pending": 2}, "changed": 2, "deliveries": 0}
    first, second, _ = bench.lines("messages")
    assert (first["milestone"], first["sr_uuid"], first["status"]) == ("qc_pending", "sr-1", "accepted")
    assert (second["milestone"], second["sr_uuid"], second["status"]) == ("qc_pending", "sr-2", "unrouted")
    assert [one["sinks"] for one in bench.lines("messages")] == [{}, {}, {}]
    lines = bench.running.audit("message.redecoded")
    assert [(line["sender_id"], line["sr_uuid"], line["detail"]) for line in lines] == [
        ("msg_one", "sr-1", "unrecognized before, qc_pending now"),
        ("msg_two", "sr-2", "quarantined before, qc_pending now"),
    ]
    assert {line["actor"] for line in lines} == {"admin"}
    (told,) = bench.run("sr", "BAG-2", "--json").document()["requests"]
    assert (told["sr_uuid"], told["state"], told["events"], told["flags"]) == ("sr-2", "QC/PENDING", 1, [])
    assert bench.run("redecode", "--since", "1d", "--yes").out == "0 messages not understood then; 0 of them understood now\n"


def test_with_a_route_they_are_delivered_once(bench: Bench) -> None:
    result = bench.run("redecode", "--since", "1d", "--yes", "--route")
    assert result.out.splitlines()[1] == "2 done, 2 deliveries made"
    assert until_sent(bench) == {"sr-1", "sr-2"}
    assert bench.run("redecode", "--since", "1d", "--yes", "--route").status == 0
    assert [one["sinks"] for one in bench.lines("messages")][:2] == [{"erp": "delivered"}] * 2


def test_a_question_needs_a_terminal_and_a_window_is_needed(bench: Bench) -> None:
    result = bench.run("redecode", "--since", "1d")
    assert result.status == 2 and "--yes" in result.err
    assert bench.run("redecode").status == 2
    assert bench.run("redecode", "--since", "1m", "--yes").status == 0


def until_sent(bench: Bench) -> set[str]:
    """Wait until both messages are delivered, and return their service requests."""
    asyncio.run(until(lambda: len(bench.receiver.requests) == 2))
    return {json.loads(request.body)["sr_uuid"] for request in bench.receiver.requests}
