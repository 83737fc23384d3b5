"""Crash, stop and start: what was answered 200 is delivered all the same, and every end has its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import gateway
from tests.store.kit import fill
from tests.support.configurations import http_sink, route
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.starting import start_another
from tests.support.waiting import until
from tests.support.webhooks import PATH, event, new_id, signed


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver) -> Iterator[Running]:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        yield running
        assert "Traceback" not in running.stderr() and ".bug" not in running.stderr()


def delivered(running: Running) -> Counter[str]:
    return Counter(line["message_id"] for line in running.audit("delivery.delivered"))


# --- kill -9


async def test_what_was_answered_before_a_kill_is_delivered_after_it(running: Running, receiver: Receiver) -> None:
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
    assert sorted(after) == sorted(f"{one}-erp" for one in ids)  # each once: those in flight repeat under the same key
    assert before <= set(after) and {request.headers["x-gateway-attempt"] for request in receiver.requests} == {"1"}
    assert sorted(request.body for request in receiver.requests) == sorted(bodies)


async def test_a_kill_at_any_moment_under_load_loses_no_answered_message(running: Running, receiver: Receiver) -> None:
    bodies = {new_id(): event() for _ in range(200)}
    answered: set[str] = set()

    async def send(sender_id: str) -> None:
        try:
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
async def test_the_lines_that_a_crash_took_from_the_audit_log_come_back(running: Running, receiver: Receiver, cut: str) -> None:
    routed = [(await running.post(event())).json()["id"] for _ in range(3)]
    quarantined = (await running.post(b"[]")).json()["id"]
    await until(lambda: len(running.audit("delivery.delivered")) == 3)
    running.kill()
    lines = running.audit_file.read_bytes().splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if routed[0].encode() in line)
    kept = b"".join(lines[: first + 1])
    if cut == "within a line":
        kept += lines[first + 1][:30]
    running.audit_file.write_bytes(kept)
    await asyncio.to_thread(running.start)
    raw_lines = running.audit_file.read_bytes().splitlines()
    lines_now = [json.loads(raw) for raw in raw_lines if raw.endswith(b"}")]  # a torn one stays as it is
    found = [(line["event"], line["message_id"]) for line in lines_now if line["event"].startswith("message.")]
    assert found == [*(("message.accepted", one) for one in routed), ("message.quarantined", quarantined)]
    assert len(receiver.requests) == 3  # the audit log is no source of deliveries


def steps(running: Running) -> list[dict[str, Any]]:
    """The lines of messages and deliveries; one that a kill tore stays as it is."""
    raw = [line for line in running.audit_file.read_bytes().splitlines() if line.endswith(b"}")]
    return [line for line in map(json.loads, raw) if "message_id" in line]


async def test_every_step_that_a_kill_kept_from_the_log_gets_its_line_once_in_order_and_with_its_time(
    running: Running, receiver: Receiver, tmp_path: Path
) -> None:
    """The log can't be written, but for what stands in it, while messages are delivered; then the process is killed."""
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


async def test_a_log_that_was_taken_away_gets_no_line_of_what_it_said(running: Running) -> None:
    for _ in range(3):
        await running.post(event())
    await until(lambda: len(running.audit("delivery.delivered")) == 3)
    await until(lambda: running.rows("SELECT count(*) FROM unlogged") == [(0,)])
    running.kill()
    running.audit_file.rename(running.folder / "taken.jsonl")
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("gateway.started"))
    assert [line["event"] for line in running.audit()] == ["gateway.started"]


async def test_an_undamaged_audit_log_gains_no_line_by_a_crash(running: Running) -> None:
    for body in (event(), event(), b"[]"):
        await running.post(body)
    await until(lambda: len(running.audit("delivery.delivered")) == 2)
    before = running.audit()
    await running.restart()
    await until(lambda: len(running.audit("gateway.started")) == 2)
    assert [line["event"] for line in running.audit()[len(before) :]] == ["gateway.started"]


@pytest.mark.parametrize("left", ["an empty file", "no file"])
async def test_a_clean_end_and_a_rotated_audit_log_gain_no_line(running: Running, left: str) -> None:
    """logrotate's `dateext`: nothing is named `.1`, and nothing is missing either. Only an unclean end is caught up."""
    await running.post(event())
    assert await running.stop() == 0
    running.audit_file.rename(running.folder / "audit.jsonl-20260301")
    if left == "an empty file":
        running.audit_file.touch()
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("gateway.started"))
    assert [line["event"] for line in running.audit()] == ["gateway.started"]


# --- SIGTERM


async def test_a_stop_finishes_what_is_in_flight_and_exits_0(running: Running, receiver: Receiver) -> None:
    receiver.hold()
    message_id = (await running.post(event())).json()["id"]
    await until(lambda: receiver.requests)
    running.terminate()
    await until(lambda: "gateway.stopping" in running.stderr())
    await until(lambda: refuses(running))
    receiver.release()
    assert await running.exit_code() == 0
    assert [line["event"] for line in running.audit()] == [
        "gateway.started",
        "message.accepted",
        "delivery.delivered",
        "gateway.stopped",
    ]
    assert running.rows("SELECT state, attempts FROM deliveries") == [("delivered", 1)]
    assert delivered(running) == {message_id: 1}


def refuses(running: Running) -> bool:
    address = running.addresses["webhooks"]
    assert isinstance(address, tuple)
    with socket.socket() as probe:
        return probe.connect_ex(address) != 0


async def test_a_stop_answers_a_request_that_is_still_being_sent(running: Running) -> None:
    body = event()
    raw = request_bytes(body, signed(body))
    async with running.connection() as (reader, writer):
        writer.write(raw[:-10])
        await writer.drain()
        assert (await running.post(event())).status == 200  # by now the first part has been read
        running.terminate()
        await until(lambda: "gateway.stopping" in running.stderr())
        writer.write(raw[-10:])
        assert await asyncio.wait_for(reader.readline(), 8) == b"HTTP/1.1 200 OK\r\n"
    assert await running.exit_code() == 0
    assert running.rows("SELECT count(*) FROM messages WHERE body = ?", body) == [(1,)]


async def test_a_stop_is_not_held_up_by_idle_connections(running: Running) -> None:
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(running.connection()) for _ in range(20)]
        for reader, writer in connections[:10]:
            writer.write(request_bytes(b"{}"))
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started < 3


async def test_a_second_signal_cuts_and_the_attempt_costs_nothing(running: Running, receiver: Receiver) -> None:
    receiver.hold()
    await running.post(event())
    await until(lambda: receiver.requests)
    running.terminate()
    await until(lambda: "gateway.stopping" in running.stderr())
    cut_at = time.monotonic()
    running.terminate()
    assert await running.exit_code() == 0
    assert time.monotonic() - cut_at < 1.5
    assert running.rows("SELECT state, attempts, retries FROM deliveries") == [("queued", 0, 0)]
    receiver.release()
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("delivery.delivered"))
    first, second = receiver.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["x-gateway-attempt"] == second.headers["x-gateway-attempt"] == "1"
    assert first.body == second.body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_while_the_store_closes_spoil_no_clean_end(running: Running, receiver: Receiver, number: int) -> None:
    """One after the other until the process has ended, from when it says that it stopped; the log is moved into the file then."""
    for _ in range(20):
        assert (await running.post(event(reference_id="x" * 100_000))).status == 200
    running.terminate()
    await until(lambda: '"gateway.stopping"' in running.stderr())
    process = running.process
    assert process is not None

    def send_on() -> None:
        while process.poll() is None:
            if number != signal.SIGTERM or '"gateway.stopped"' in running.stderr():
                process.send_signal(number)

    await asyncio.wait_for(asyncio.to_thread(send_on), 30)
    assert process.returncode == 0
    assert (running.database.parent / "gateway.db.lock").read_bytes().strip() == b"clean"
    await asyncio.to_thread(running.start)
    assert "quick_check" not in running.stderr() and "caught_up" not in running.stderr()


async def test_a_second_signal_also_cuts_a_request_whose_body_does_not_come(running: Running) -> None:
    async with running.connection() as (_, writer):
        writer.write(request_bytes(b"", [("Content-Length", "500"), *signed(b"")], length=False))
        await writer.drain()
        assert (await running.post(event())).status == 200  # by now the other one has been read
        running.terminate()
        await until(lambda: "gateway.stopping" in running.stderr())
        cut_at = time.monotonic()
        running.terminate()
        assert await running.exit_code() == 0
        assert time.monotonic() - cut_at < 1.5


async def test_the_drain_ends_at_its_deadline(tmp_path: Path, receiver: Receiver) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "500ms"\n' + http_sink(receiver) + route("erp")
    with Running(tmp_path, toml) as running:
        receiver.hold()
        await running.post(event())
        await until(lambda: receiver.requests)
        started = time.monotonic()
        assert await running.stop() == 0
        assert 0.4 < time.monotonic() - started < 2.5
        assert running.rows("SELECT state, attempts FROM deliveries") == [("queued", 0)]
        assert running.audit()[-1]["event"] == "gateway.stopped"


async def test_sigint_stops_like_sigterm(running: Running) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGINT)
    assert await running.exit_code() == 0


# --- exit codes


async def test_a_second_gateway_on_a_database_ends_with_73_and_the_holders_pid(running: Running) -> None:
    assert running.process is not None
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 73 and f"pid {running.process.pid}" in end.stderr and "Traceback" not in end.stderr
    assert (await running.post(event())).status == 200
    assert len(running.audit("gateway.started")) == 1


async def test_an_address_that_is_taken_ends_with_74_and_the_address(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    address = running.addresses["webhooks"]
    assert isinstance(address, tuple)
    other = Running(
        folder, f'[server]\nlisten = ["127.0.0.1:{address[1]}"]\n[sinks.a]\ntype = "jsonl"\npath = "a"\n' + route("a")
    )
    end = await asyncio.to_thread(start_another, other.config, other.secrets)
    assert end.returncode == 74 and f"127.0.0.1:{address[1]}" in end.stderr and "Traceback" not in end.stderr


BAD = {
    "not TOML": ("[sinks", "TOML"),
    "an unknown key": ('[server]\nlisten = ["127.0.0.1:0"]\nlisten_on = 1', "listen_on"),
    "an unknown sink": ('[[routes]]\nsinks = ["erp"]', "erp"),
    "a literal secret": ('[sources.legitmark]\nsecrets = ["whsec_plain"]', "secret"),
    "no secret": ("[sources.legitmark]", "secrets"),
    "a secret that is not set": ('[sources.legitmark]\nsecrets = [{ env = "NOT_SET" }]', "NOT_SET"),
}


@pytest.mark.parametrize(("toml", "named"), BAD.values(), ids=BAD)
def test_a_bad_configuration_ends_with_78_and_names_what_is_wrong(tmp_path: Path, toml: str, named: str) -> None:
    running = Running(tmp_path, toml)
    end = start_another(running.config, running.secrets)
    assert end.returncode == 78 and named in end.stderr and "Traceback" not in end.stderr
    assert "whsec_" not in end.stderr.replace('"whsec_"', "")
    assert not running.database.exists() and not running.audit_file.exists()


def test_all_problems_of_a_configuration_are_said_at_once(tmp_path: Path) -> None:
    running = Running(tmp_path, '[admin]\nlisten = ["nowhere"]\n[store]\nretention = "x"\n[[routes]]\nsinks = ["a", "b"]')
    said = start_another(running.config, running.secrets).stderr
    assert all(word in said for word in ('"nowhere"', "retention", '"a"', '"b"'))


def test_no_configuration_ends_with_78(tmp_path: Path) -> None:
    assert start_another(tmp_path / "none.toml", {}).returncode == 78


@pytest.mark.parametrize("damage", ["the header", "another program's", "a page", "cut off"])
async def test_a_corrupt_database_ends_with_65_and_is_left_as_it_is(running: Running, damage: str) -> None:
    for _ in range(30):
        await running.post(event(reference_id="x" * 2000))
    assert await running.stop() == 0
    data = bytearray(running.database.read_bytes())
    if damage == "the header":
        data[:16] = b"Not SQLite at al"
    elif damage == "another program's":
        data[68:72] = b"ABCD"
    elif damage == "a page":
        data[4096 : 3 * 4096] = os.urandom(2 * 4096)
    else:
        del data[8192:]
    running.database.write_bytes(data)
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 65 and "Traceback" not in end.stderr and end.stderr.startswith("gateway: error: ")
    assert running.database.read_bytes() == data


async def test_pages_that_rot_far_from_the_start_are_found_after_a_crash(running: Running) -> None:
    """Start reads a row of everything, the janitor the oldest 200; the rest is read beside serving, after an unclean end."""
    for batch in range(13):
        await asyncio.gather(*(running.post(event(note=f"<batch {batch}>" + "x" * 3000)) for _ in range(20)))
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(0,)])  # nothing to read again
    assert await running.stop() == 0
    await asyncio.to_thread(running.start)
    running.kill()  # nothing was written: the file is whole, and the end unclean
    pages = running.database.read_bytes()
    with running.database.open("r+b") as file:
        for at in range(0, len(pages), 4096):
            if b"<batch 11>" in pages[at : at + 4096]:
                file.seek(at)
                file.write(os.urandom(4096))
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 65 and "quick_check" in end.stderr and "Traceback" not in end.stderr
    assert "gateway.listening" in end.stderr  # it served meanwhile


def test_a_database_in_a_folder_that_is_not_there_ends_with_74(tmp_path: Path) -> None:
    running = Running(tmp_path, '[store]\npath = "nowhere/gateway.db"\n')
    end = start_another(running.config, running.secrets)
    assert end.returncode == 74 and "nowhere" in end.stderr and "Traceback" not in end.stderr


async def test_a_copy_of_the_database_knows_its_duplicates(running: Running, receiver: Receiver, tmp_path: Path) -> None:
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


# --- what a start finds


async def test_a_start_trusts_no_due_time_further_away_than_any_back_off(tmp_path: Path, receiver: Receiver) -> None:
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


class Slow(Running):
    """A gateway on a disk that takes 20 ms for each page of the database."""

    def launch(self) -> None:
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("there is no strace")
        log = str(self.folder / "strace.log")
        # With -D the tracer is nobody's parent: the process that we start and stop is the gateway.
        command = [strace, "-D", "-f", "-o", log, "-P", str(self.database), "-e", "trace=pread64"]
        command += [
            "-e",
            "inject=pread64:delay_enter=20000",
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--config",
            str(self.config),
        ]
        environment = {**os.environ, **self.secrets, "PYTHONPATH": str(Path(gateway.__file__).parent.parent)}
        with self.stderr_file.open("ab") as stderr:
            self._log_from = stderr.tell()
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )


async def test_a_stop_does_not_wait_for_the_long_look_at_the_file_and_the_next_start_takes_it_up(tmp_path: Path) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "5s"\n[sinks.erp]\ntype = "jsonl"\npath = "out"\n' + route("erp")
    await fill(tmp_path / "gateway.db", 20_000, sinks=("gone",))
    lock = tmp_path / "gateway.db.lock"
    lock.write_bytes(b"1".ljust(32))  # as a kill leaves it; and the line of the newest message stands in the log
    line = {"v": 1, "time": "2026-03-01T00:00:00.000Z", "event": "message.accepted", "message_id": f"f{20_000:031x}"}
    (tmp_path / "audit.jsonl").write_text(json.dumps(line) + "\n")
    with Slow(tmp_path, toml) as running:
        log = tmp_path / "strace.log"
        pages = (tmp_path / "gateway.db").stat().st_size // 4096
        assert pages > 1500  # thirty seconds
        looked = log.read_text().count("pread64")
        await until(lambda: log.read_text().count("pread64") > looked + 20, 20)
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started < 5.0
        assert "INJECTED" in log.read_text() or "DELAYED" in log.read_text()
        assert lock.read_bytes().rstrip() == b"clean, not checked"
    with Running(tmp_path, toml) as running:
        assert await running.stop() == 0 or True
    with Running(tmp_path, toml) as running:
        await until(lambda: "store.checked" in running.stderr())
        assert await running.stop() == 0
        assert lock.read_bytes().rstrip() == b"clean"
        assert "Traceback" not in running.stderr() and "never retrieved" not in running.stderr()
