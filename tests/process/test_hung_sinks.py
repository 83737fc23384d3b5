"""Sinks that hang in the middle of an attempt: a file that takes no byte, an answer whose body never comes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from gateway.web.server.drain_times import SENDERS
from tests.sinks.http_server import after_request, answer
from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, read_answer, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.pipes import full_fifo, read_lines
from tests.support.receivers import Receiver
from tests.support.service_manager import listening
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, signed

FILE = (
    '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\ntimeout = "1s"\nretry = ["0s", "100ms", "100ms", "100ms", "1h"]\n'
    'breaker = { failures = 3, probe = "300ms" }\n'
)
DRAIN = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "1s"\n'


def hung_sink(receiver: Receiver) -> str:
    """A sink whose own timeout is longer than any test takes."""
    return http_sink(receiver, "hung", 'timeout = "300s"')


def holds_open(running: Running, path: Path) -> bool:
    """True once the process has opened the file, which it does right before it writes."""
    assert running.process is not None
    return any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{running.process.pid}/fd").iterdir())


async def test_a_file_that_hangs_is_a_timeout_that_opens_the_breaker_until_the_file_works_again(tmp_path: Path) -> None:
    with full_fifo(tmp_path / "events.jsonl") as reader, Receiver() as well:
        toml = FILE + http_sink(well, "well") + route("archive", "well")
        with Running(tmp_path, toml) as running, no_traceback(running):
            bodies = [event() for _ in range(5)]
            for body in bodies:
                assert (await running.post(body)).outcome == (200, "accepted")
            await until(lambda: running.audit("sink.opened", sink="archive"))
            await until(lambda: len(running.audit("delivery.delivered", sink="well")) == 5)
            first, *others = [line["reason"] for line in running.audit("delivery.retrying", sink="archive")]
            assert first == "timeout"
            assert set(others) == {"unavailable"}, "while its thread hangs nothing more is written"
            assert not running.audit("delivery.delivered", sink="archive")

            read = bytearray()
            await until(
                lambda: read_lines(reader, read) and len(running.audit("delivery.delivered", sink="archive")) == 5, PATIENCE
            )
            lines = read_lines(reader, read)
            for body in bodies:
                assert sum(body in line for line in lines) >= 1
            # The write that was given up succeeded in the end, and its delivery was written again: at least once.
            assert len(lines) == 6
            assert running.audit("sink.closed", sink="archive")


async def test_a_stop_does_not_wait_for_a_file_that_hangs_and_no_attempt_is_lost(tmp_path: Path) -> None:
    with full_fifo(tmp_path / "events.jsonl") as reader:
        toml = DRAIN + FILE.replace('timeout = "1s"', 'timeout = "300s"') + route("archive")
        with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
            body = event()
            assert (await running.post(body)).outcome == (200, "accepted")
            await until(lambda: holds_open(running, tmp_path / "events.jsonl"))
            assert await running.stop() == 0
            assert running.rows("SELECT state, attempts, retries FROM deliveries") == [("queued", 0, 0)]

            read = bytearray()
            read_lines(reader, read)
            await asyncio.to_thread(running.start)
            await until(lambda: read_lines(reader, read) and running.audit("delivery.delivered", sink="archive"))
            assert any(body in line for line in read_lines(reader, read))


async def test_a_stop_right_after_a_timeout_does_not_wait_for_a_file_that_hangs(tmp_path: Path) -> None:
    toml = DRAIN + FILE + route("archive")
    with full_fifo(tmp_path / "events.jsonl"), Running(tmp_path, toml) as running, no_traceback(running, alive=False):
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.retrying", sink="archive", reason="timeout"))
        assert await running.stop() == 0


async def test_webhooks_are_accepted_while_a_hanging_sink_delays_a_stop(tmp_path: Path) -> None:
    """A sender waits for the gateway, not for a sink. The next process delivers each message that came meanwhile, once."""
    toml = '[server]\nlisten = ["fd:webhooks"]\ndrain = "120s"\n'
    with (
        listening() as webhooks,
        Receiver() as hung,
        SocketActivated(tmp_path, toml + hung_sink(hung) + route("hung"), {"webhooks": webhooks}) as running,
    ):
        hung.hold()
        first = event()
        assert (await running.post(first)).outcome == (200, "accepted")
        await until(lambda: hung.of(first))
        running.terminate()
        began, bodies = time.monotonic(), [first]
        while time.monotonic() - began < SENDERS.kept + 1:
            bodies.append(event())
            answer = await running.post(bodies[-1])
            assert answer.outcome == (200, "accepted")
        assert answer.header("connection") == "close"
        hung.release()
        assert await running.exit_code() == 0, "once the sink has answered, nothing holds it up"
        assert "gateway.cut" not in running.stderr() and len(hung.requests) == 1

        await asyncio.to_thread(running.start)
        await until(lambda: len(hung.requests) >= len(bodies))
        assert sorted(request.body for request in hung.requests) == sorted(bodies)


async def test_no_sender_fails_or_waits_because_a_sink_hangs_through_a_whole_restart(tmp_path: Path) -> None:
    """The sink hangs longer than the drain. The last senders, who send in pieces, are answered; later ones wait in the socket."""
    toml = '[server]\nlisten = ["fd:webhooks"]\ndrain = "6s"\n'
    with (
        listening() as webhooks,
        Receiver() as hung,
        SocketActivated(tmp_path, toml + hung_sink(hung) + route("hung"), {"webhooks": webhooks}) as running,
    ):
        hung.hold()
        first = event()
        assert (await running.post(first)).outcome == (200, "accepted")
        await until(lambda: hung.of(first))
        answers: list[Answer] = []
        bodies = [first]
        stopped = False

        async def send(pause: float) -> None:
            while not stopped:
                bodies.append(body := event())
                raw = request_bytes(body, signed(body))
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection(*webhooks.getsockname())
                    began = time.monotonic()
                    writer.write(raw[:-20])
                    await asyncio.sleep(pause)
                    writer.write(raw[-20:])
                    answers.append(await read_answer(reader, began))
                    writer.transport.abort()

        sending = asyncio.gather(send(0.0), send(0.0), send(0.7))
        assert await running.stop() == 0
        assert "gateway.cut" in running.stderr()
        before = len(answers)
        await asyncio.to_thread(running.start)
        await until(lambda: len(answers) >= before + 3)
        stopped = True
        await sending
        assert {answer.outcome for answer in answers} == {(200, "accepted")}
        print(f"{before} answered while it stopped; longest {max(answer.seconds for answer in answers):.1f} s")
        hung.release()
        await until(lambda: {request.body for request in hung.requests} >= set(bodies))
        assert len(running.audit("message.accepted")) == len(bodies)
        assert running.rows("SELECT count(*) FROM messages") == [(len(bodies),)]


@pytest.mark.parametrize("timeout", ["1s", "2s"])
async def test_a_good_status_whose_body_never_comes_is_delivered_once(timeout: str, tmp_path: Path) -> None:
    async with after_request(says=answer(200, content_length="100"), hang=True) as server:
        toml = f'[sinks.erp]\ntype = "http"\nurl = "{server.url}"\ntimeout = "{timeout}"\nretry = ["0s", "100ms"]\n' + route(
            "erp"
        )
        with Running(tmp_path, toml) as running, no_traceback(running):
            message_id = (await running.post(event())).json()["id"]
            await until(lambda: running.audit("delivery.delivered", message_id=message_id))
            (line,) = running.audit(message_id=message_id, sink="erp")
            assert (line["event"], line["attempt"], line["status"]) == ("delivery.delivered", 1, 200)
            assert server.connections == 1
