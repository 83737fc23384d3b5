"""After `kill -9` and a new start, every message that was answered 200 is delivered, and the audit log is complete"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import PATH, event, new_id, signed


def delivered(running: Running) -> Counter[str]:
    return Counter(line["message_id"] for line in running.audit("delivery.delivered"))


async def test_a_message_answered_before_a_kill_is_delivered_after_it(running: Running, receiver: Receiver) -> None:
    receiver.hold()
    bodies = [event() for _ in range(40)]
    answers = await asyncio.gather(*(running.post(body) for body in bodies))
    ids = {answer.json()["id"] for answer in answers}
    await until(lambda: len(receiver.requests) == 16)
    running.kill()
    assert running.audit("delivery.delivered") == []
    before = {request.headers["idempotency-key"] for request in receiver.requests}
    receiver.requests.clear()
    receiver.release()
    await asyncio.to_thread(running.start)
    await until(lambda: set(delivered(running)) == ids)
    assert set(delivered(running).values()) == {1}
    after = [request.headers["idempotency-key"] for request in receiver.requests]
    assert sorted(after) == sorted(
        f"{one}-erp" for one in ids
    )  # each once, except those in flight, which repeat under the same key
    assert before <= set(after) and {request.headers["x-gateway-attempt"] for request in receiver.requests} == {"1"}
    assert sorted(request.body for request in receiver.requests) == sorted(bodies)


async def test_a_kill_at_any_moment_under_load_loses_no_answered_message(running: Running, receiver: Receiver) -> None:
    bodies = {new_id(): event() for _ in range(200)}
    answered: set[str] = set()
    places = asyncio.Semaphore(100)  # one peer has 128, and beyond them the gateway ends a connection that sends nothing for 1 s

    async def send(sender_id: str) -> None:
        try:
            async with places:
                answer = await running.post(bodies[sender_id], signed(bodies[sender_id], sender_id))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        if answer.status == 200:
            answered.add(sender_id)

    sending = [asyncio.create_task(send(sender_id)) for sender_id in bodies]
    await until(lambda: len(answered) >= 30)
    running.kill()
    await asyncio.gather(*sending)
    known_before = {line["sender_id"] for line in running.audit("message.accepted")}
    assert answered <= known_before  # the audit line is written before the 200
    await asyncio.to_thread(running.start)
    await asyncio.gather(*(send(sender_id) for sender_id in bodies))
    assert answered == set(bodies)
    await until(lambda: running.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [("delivered", len(bodies))])
    accepted = Counter(line["sender_id"] for line in running.audit("message.accepted"))
    assert accepted == dict.fromkeys(bodies, 1)
    keys = Counter((request.body, request.headers["idempotency-key"]) for request in receiver.requests)
    assert len(keys) == len(bodies)  # whatever was repeated, was repeated under its key
    assert sum(count - 1 for count in keys.values()) <= 16  # at most `concurrency` of them


@pytest.mark.parametrize("cut", ["to the first line", "within a line"])
async def test_lines_that_a_crash_took_from_the_audit_log_are_written_again(
    running: Running, receiver: Receiver, cut: str
) -> None:
    routed = [(await running.post(event())).json()["id"] for _ in range(3)]
    quarantined = (await running.post(b"[]")).json()["id"]
    await until(lambda: len(running.audit("delivery.delivered")) == 3)
    running.kill()
    lines = running.audit_file.read_bytes().splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if routed[0].encode() in line)
    proving = proofs(running)
    assert len(proving) == 4 and all(None not in one for one in proving.values())
    kept = b"".join(lines[: first + 1])
    if cut == "within a line":
        kept += lines[first + 1][:30]
    running.audit_file.write_bytes(kept)
    await asyncio.to_thread(running.start)
    raw_lines = running.audit_file.read_bytes().splitlines()
    lines_now = [json.loads(raw) for raw in raw_lines if raw.endswith(b"}")]  # a torn line stays as it is
    found = [(line["event"], line["message_id"]) for line in lines_now if line["event"].startswith("message.")]
    assert found == [*(("message.accepted", one) for one in routed), ("message.quarantined", quarantined)]
    assert len(receiver.requests) == 3  # the audit log is no source of deliveries
    assert proofs(running) == proving, "evidence about a message is the same after a crash"


def proofs(running: Running) -> dict[str, tuple[str | None, ...]]:
    """The fields that bind what a message was, by its id."""
    new = [line for line in steps(running) if line["event"] in ("message.accepted", "message.quarantined")]
    return {line["message_id"]: tuple(line.get(name) for name in ("body_sha256", "key", "sender_timestamp")) for line in new}


def steps(running: Running) -> list[dict[str, Any]]:
    """The lines of messages and deliveries; one that a kill tore stays as it is."""
    raw = [line for line in running.audit_file.read_bytes().splitlines() if line.endswith(b"}")]
    return [line for line in map(json.loads, raw) if "message_id" in line]


async def test_every_step_missing_from_the_log_after_a_kill_gets_one_line_in_order_and_with_its_time(
    running: Running, receiver: Receiver, tmp_path: Path
) -> None:
    """The log becomes unwritable before messages are delivered, and then the process is killed."""
    receiver.hold()
    ids = [(await running.post(event())).json()["id"] for _ in range(3)]
    await until(lambda: len(receiver.requests) == 3)
    before = running.audit_file.read_bytes()
    aside = tmp_path / "audit.jsonl.aside"
    running.audit_file.rename(aside)
    running.audit_file.mkdir()
    receiver.release()
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == [(3,)])
    ended = dict(running.rows("SELECT m.id, d.ended_ms FROM deliveries d JOIN messages m ON m.seq = d.message"))
    running.kill()
    running.audit_file.rmdir()
    aside.rename(running.audit_file)
    assert running.audit_file.read_bytes() == before
    for _ in range(2):  # by a second kill they do not come again
        await asyncio.to_thread(running.start)
        lines = steps(running)
        assert [line["message_id"] for line in lines if line["event"] == "message.accepted"] == ids
        told = [line for line in lines if line["event"] == "delivery.delivered"]
        assert sorted(line["message_id"] for line in told) == sorted(ids)
        for line in told:
            instant = datetime.fromisoformat(line["time"]).timestamp()
            assert abs(instant - ended[line["message_id"]] / 1000) < 0.002 and line["attempt"] == 1 and line["status"] == 200
        assert len(steps(running)) == 6
        running.kill()


async def test_an_audit_log_that_was_moved_away_does_not_get_its_lines_again(running: Running) -> None:
    for _ in range(3):
        await running.post(event())
    await until(lambda: len(running.audit("delivery.delivered")) == 3)
    await until(lambda: running.rows("SELECT count(*) FROM unlogged") == [(0,)])
    running.kill()
    running.audit_file.rename(running.folder / "taken.jsonl")
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("gateway.started"))
    assert [line["event"] for line in running.audit()] == ["gateway.started"]


async def test_a_crash_adds_no_line_to_an_undamaged_audit_log(running: Running) -> None:
    for body in (event(), event(), b"[]"):
        await running.post(body)
    await until(lambda: len(running.audit("delivery.delivered")) == 2)
    before = running.audit()
    await running.restart()
    await until(lambda: len(running.audit("gateway.started")) == 2)
    assert [line["event"] for line in running.audit()[len(before) :]] == ["gateway.started"]


@pytest.mark.parametrize("left", ["an empty file", "no file"])
async def test_a_clean_end_adds_no_line_to_a_rotated_audit_log(running: Running, left: str) -> None:
    """Logrotate's `dateext` names no file `.1`, yet no line is missing. Only an unclean end adds lines."""
    await running.post(event())
    assert await running.stop() == 0
    running.audit_file.rename(running.folder / "audit.jsonl-20260301")
    if left == "an empty file":
        running.audit_file.touch()
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("gateway.started"))
    assert [line["event"] for line in running.audit()] == ["gateway.started"]


async def test_a_gateway_on_a_copy_of_the_database_recognizes_duplicates(
    running: Running, receiver: Receiver, tmp_path: Path
) -> None:
    body, sender_id = event(), new_id()
    await running.post(body, signed(body, sender_id))
    await until(lambda: running.audit("delivery.delivered"))
    assert await running.stop() == 0
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(running.database, folder / "gateway.db")
    with Running(folder, http_sink(receiver) + route("erp")) as copy:
        assert (await copy.post(body, signed(body, sender_id), path=PATH)).outcome == (200, "duplicate")


async def test_an_audit_log_that_became_a_folder_is_answered_503_until_it_is_mended(running: Running, receiver: Receiver) -> None:
    assert (await running.post(event())).status == 200
    await until(lambda: running.audit("delivery.delivered"))
    running.audit_file.rename(running.folder / "audit.old")
    running.audit_file.mkdir()
    body, sender_id = event(), new_id()
    answer = await running.post(body, signed(body, sender_id))
    assert (answer.outcome, answer.header("retry-after")) == ((503, "store_unavailable"), "5")
    ready = await running.admin("/-/ready")
    assert ready.status == 503 and "audit log" in str(ready.json())
    assert (await running.admin("/-/healthy")).status == 200
    running.audit_file.rmdir()
    await until(lambda: running.audit("delivery.delivered", sender_id=sender_id))
    assert (await running.post(body, signed(body, sender_id))).outcome == (200, "duplicate")
    events = [line["event"] for line in running.audit(sender_id=sender_id)]
    assert events == ["message.accepted", "delivery.delivered", "message.duplicate"]
    assert (await running.admin("/-/ready")).status == 200
    assert len(receiver.of(body)) == 1


async def test_a_start_shortens_due_times_that_are_further_away_than_any_backoff(tmp_path: Path, receiver: Receiver) -> None:
    """The clock of this host may have been years ahead when it was written."""
    toml = http_sink(receiver, more='retry = ["0s", "1h"]') + route("erp")
    receiver.always = (500, {})
    with Running(tmp_path, toml) as running:
        for _ in range(3):
            assert (await running.post(event())).status == 200
        await until(lambda: len(running.audit("delivery.retrying")) == 3)
        assert await running.stop() == 0
        soon = round((time.time() + 600) * 1000)
        with closing(sqlite3.connect(running.database)) as connection, connection:
            connection.execute("UPDATE deliveries SET due_ms = due_ms + 315360000000")
            connection.execute("UPDATE deliveries SET due_ms = ? WHERE message = 1", (soon,))
        await asyncio.to_thread(running.start)
        (first, *others) = [due for (due,) in running.rows("SELECT due_ms FROM deliveries ORDER BY message")]
        assert first == soon
        assert len(others) == 2 and all(time.time() < due / 1000 <= time.time() + 3600 * 1.1 for due in others)
