"""A stop by a signal finishes what is in flight, and a second signal cuts it off without a loss."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.store.kit import fill
from tests.support.configurations import http_sink, route
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, signed


def delivered(running: Running) -> Counter[str]:
    return Counter(line["message_id"] for line in running.audit("delivery.delivered"))


async def test_a_stop_finishes_attempts_in_flight_and_exits_0(running: Running, receiver: Receiver) -> None:
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
        assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"
    assert await running.exit_code() == 0
    assert running.rows("SELECT count(*) FROM messages WHERE body = ?", body) == [(1,)]


async def test_a_stop_is_not_held_up_by_idle_connections(running: Running) -> None:
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(running.connection()) for _ in range(20)]
        for reader, writer in connections[:10]:
            writer.write(request_bytes(b"{}"))
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        began = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - began < 14, "before the 15 seconds were over for which an idle connection is kept"


async def test_a_second_signal_cuts_the_attempt_which_then_costs_nothing(running: Running, receiver: Receiver) -> None:
    receiver.hold()
    await running.post(event())
    await until(lambda: receiver.requests)
    running.terminate()
    await until(lambda: "gateway.stopping" in running.stderr())
    running.terminate()
    assert await running.exit_code() == 0
    assert running.rows("SELECT state, attempts, retries FROM deliveries") == [("queued", 0, 0)]
    receiver.release()
    await asyncio.to_thread(running.start)
    await until(lambda: running.audit("delivery.delivered"))
    first, second = receiver.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["x-gateway-attempt"] == second.headers["x-gateway-attempt"] == "1"
    assert first.body == second.body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_while_the_store_closes_do_not_make_the_end_unclean(
    running: Running, receiver: Receiver, number: int
) -> None:
    """Send one signal after the other from its last log line until the process has ended. The log is checkpointed meanwhile."""
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

    await asyncio.wait_for(asyncio.to_thread(send_on), PATIENCE)
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
        running.terminate()
        assert await running.exit_code() == 0


async def test_the_drain_ends_at_its_deadline(tmp_path: Path, receiver: Receiver) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "500ms"\n' + http_sink(receiver, more='timeout = "300s"') + route("erp")
    with Running(tmp_path, toml) as running:
        receiver.hold()
        await running.post(event())
        await until(lambda: receiver.requests)
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started > 0.4, "and long before the sink's own timeout of five minutes"
        assert running.rows("SELECT state, attempts FROM deliveries") == [("queued", 0)]
        assert running.audit()[-1]["event"] == "gateway.stopped"


async def test_sigint_stops_like_sigterm(running: Running) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGINT)
    assert await running.exit_code() == 0


class SlowDisk(Running):
    """A gateway on a disk that takes 20 ms for each page of the database."""

    def command(self) -> list[str]:
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("there is no strace")
        # With -D the tracer is not the parent: the process that we start and stop is the gateway.
        tracer = [strace, "-D", "-f", "-o", str(self.folder / "strace.log"), "-P", str(self.database)]
        return [*tracer, "-e", "trace=pread64", "-e", "inject=pread64:delay_enter=20000", *super().command()]


async def test_a_stop_does_not_wait_for_the_long_check_and_the_next_start_makes_it(tmp_path: Path) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n[sinks.erp]\ntype = "jsonl"\npath = "out"\n' + route("erp")
    await fill(tmp_path / "gateway.db", 20_000, sinks=("gone",))
    lock = tmp_path / "gateway.db.lock"
    lock.write_bytes(b"1".ljust(32))  # as a kill leaves it, and the audit log has the line of the newest message
    line = {"v": 1, "time": "2026-03-01T00:00:00.000Z", "event": "message.accepted", "message_id": f"f{20_000:031x}"}
    (tmp_path / "audit.jsonl").write_text(json.dumps(line) + "\n")
    with SlowDisk(tmp_path, toml) as running:
        log = tmp_path / "strace.log"
        pages = (tmp_path / "gateway.db").stat().st_size // 4096
        assert pages > 1500, "the look takes thirty seconds at least"
        looked = log.read_text().count("pread64")
        await until(lambda: log.read_text().count("pread64") > looked + 20)
        assert await running.stop() == 0
        assert log.read_text().count("pread64") < looked + pages, "it ended before the look had seen every page"
        assert "INJECTED" in log.read_text() or "DELAYED" in log.read_text()
        assert lock.read_bytes().rstrip() == b"clean, not checked"
    with Running(tmp_path, toml) as running:
        assert await running.stop() == 0
    with Running(tmp_path, toml) as running:
        await until(lambda: "store.checked" in running.stderr())
        assert await running.stop() == 0
        assert lock.read_bytes().rstrip() == b"clean"
        assert "Traceback" not in running.stderr() and "never retrieved" not in running.stderr()
