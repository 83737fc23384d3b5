"""Sinks that are ill in every way that a network knows, beside one that is well; breaker and pause in the real process."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from tests.flow.running import (
    Receiver,
    Running,
    event,
    exchange,
    http_sink,
    no_traceback,
    request_bytes,
    route,
    until,
)
from tests.sinks.parts import Heard, HttpServer, Server, after_request, answer, read_request, reset_connection

PATIENCE = 25.0
NUMBER = 100
"""Events in each of the two measurements."""
LARGE = 10 * 1024 * 1024


# --- a healthy sink beside every sick one: one process, looked at by many tests


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good answer, one byte a second."""
    await read_request(reader)
    for at in range(len(said := answer())):
        writer.write(said[at : at + 1])
        await writer.drain()
        await asyncio.sleep(1)


async def _reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset_connection(writer)


async def _close_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing any more, and go on listening."""
    await read_request(reader)
    writer.write_eof()
    await reader.read()


class Large(Server):
    """Answers 200 with 10 MB, and counts what the other side let it write."""

    def __init__(self) -> None:
        super().__init__(self._flood)
        self.written: list[int] = []

    async def _flood(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        await read_request(reader)
        at = len(self.written)
        self.written.append(0)
        writer.write(answer(200, content_length=str(LARGE)))
        for _ in range(LARGE // (64 * 1024)):
            writer.write(b"x" * (64 * 1024))
            await writer.drain()
            self.written[at] += 64 * 1024


def _busy_until(_: Heard) -> bytes:
    date = datetime.now(UTC) + timedelta(seconds=2)
    return answer(429, Retry_After=format_datetime(date, usegmt=True))


def _expired(authority: trustme.CA) -> ssl.SSLContext:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_before=long_ago, not_after=long_ago + timedelta(days=30)).configure_cert(context)
    return context


REASONS = {
    "hangs": "timeout",
    "drips": "timeout",
    "resets_before": "reset",
    "resets_after": "reset",
    "closes_half": "reset",
    "redirects": "http_status",
    "storm": "http_status",
    "expired": "tls",
    "nameless": "dns",
    "malformed": "protocol",
}
"""Of the sinks that answer nothing of worth."""
BUSY = {"busy": "rate_limited", "busy_until": "rate_limited", "down_for": "unavailable"}
"""Of the sinks that ask for time."""
SICK = [*REASONS, *BUSY, "large"]


class Seen(NamedTuple):
    audit: list[dict[str, Any]]
    deliveries: dict[str, list[tuple[str, int, int]]]
    """By sink: state, attempts and retries of each."""
    bodies: list[bytes]
    received: list[bytes]
    elsewhere: int
    usual: float
    beside: float
    """p99, in seconds from the request's begin to the healthy sink's."""
    answers: set[tuple[int, str]]
    written: list[int]
    stderr: str

    def of(self, sink: str) -> list[dict[str, Any]]:
        return [line for line in self.audit if line.get("sink") == sink]


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99) - 1]


async def _post(running: Running, well: Receiver, bodies: list[bytes]) -> tuple[list[float], set[tuple[int, str]]]:
    """One after the other; the seconds that each took to reach the healthy sink."""
    started, answers = [], set()
    for body in bodies:
        started.append(time.monotonic())
        answers.add((await running.post(body)).outcome)
    wanted = set(bodies)
    await until(lambda: wanted <= {request.body for request in well.requests}, PATIENCE)
    arrived = {request.body: request.at for request in reversed(well.requests)}
    return [arrived[body] - at for body, at in zip(bodies, started, strict=True)], answers


async def _night(folder: Path) -> Seen:
    authority = trustme.CA()
    pem = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(pem))
    large = Large()
    with Receiver() as well:
        servers: dict[str, Server] = {
            "hangs": after_request(hang=True),
            "drips": Server(_drip),
            "resets_before": Server(_reset_at_once),
            "resets_after": after_request(reset=True),
            "closes_half": Server(_close_half),
            "redirects": HttpServer(answer(307, Location=well.url("/elsewhere"))),
            "storm": HttpServer(answer(503)),
            "expired": HttpServer(tls=_expired(authority)),
            "malformed": after_request(says=b"I am no HTTP server\r\n\r\n"),
            "busy": HttpServer(answer(429, Retry_After="1")),
            "busy_until": HttpServer(_busy_until),
            "down_for": HttpServer(answer(503, Retry_After="1")),
            "large": large,
        }
        async with AsyncExitStack() as stack:
            for server in servers.values():
                await stack.enter_async_context(server)
            urls = {name: server.url for name, server in servers.items()} | {"nameless": "http://nothing.invalid/hook"}
            # Their breakers never open, so that they stay as ill as they can be; who asks for time has a single attempt.
            more = 'breaker = { failures = 1000000, probe = "1s" }\n'
            parts = [http_sink(well, "well")]
            for name in SICK:
                schedule = '["0s"]' if name in BUSY else '["0s", "200ms", "1h"]'
                # A lookup may take its time: a packet to a name server that gets lost costs five seconds.
                timeout = "15s" if name == "nameless" else "1s"
                url = urls[name]
                parts.append(f'[sinks.{name}]\ntype = "http"\nurl = "{url}"\nretry = {schedule}\ntimeout = "{timeout}"\n{more}')
            parts.append(route("well"))
            parts.append(route(*SICK, more='match = { sr_uuid = { prefix = "beside-" } }'))
            environment = {"SSL_CERT_FILE": str(pem), "SSL_CERT_DIR": str(folder / "none")}
            with Running(folder, "\n".join(parts), environment) as running, no_traceback(running, alive=False):
                await _post(running, well, [event() for _ in range(20)])
                usual, _ = await _post(running, well, [event() for _ in range(NUMBER)])
                bodies = [event(f"beside-{at}") for at in range(NUMBER)]
                beside, answers = await _post(running, well, bodies)

                def all_shown() -> bool:
                    shown = Counter((line["event"], line.get("sink")) for line in running.audit())
                    retried = all(shown["delivery.retrying", name] >= 3 for name in REASONS)
                    deferred = all(shown["delivery.deferred", name] >= 2 for name in BUSY)
                    return retried and deferred and shown["delivery.delivered", "large"] >= 3

                await until(all_shown, PATIENCE)
                assert await running.stop() == 0
                deliveries: dict[str, list[tuple[str, int, int]]] = {}
                for name, *row in running.rows("SELECT sink, state, attempts, retries FROM deliveries"):
                    deliveries.setdefault(name, []).append((row[0], row[1], row[2]))
                return Seen(
                    audit=running.audit(),
                    deliveries=deliveries,
                    bodies=bodies,
                    received=[request.body for request in well.requests if request.body in set(bodies)],
                    elsewhere=sum(request.path == "/elsewhere" for request in well.requests),
                    usual=p99(usual),
                    beside=p99(beside),
                    answers=answers,
                    written=large.written,
                    stderr=running.stderr(),
                )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield asyncio.run(_night(tmp_path_factory.mktemp("night")))


def test_the_healthy_sink_gets_everything_once_and_nearly_as_fast_as_without_sick_ones(seen: Seen) -> None:
    assert seen.answers == {(200, "accepted")}
    assert sorted(seen.received) == sorted(seen.bodies)
    assert {state for state, _, _ in seen.deliveries["well"]} == {"delivered"}
    assert seen.beside < 2 * seen.usual + 0.25, (seen.usual, seen.beside)


@pytest.mark.parametrize("sink", REASONS)
def test_each_illness_has_its_reason_in_the_audit_log(seen: Seen, sink: str) -> None:
    lines = [line for line in seen.of(sink) if line["event"].startswith("delivery.")]
    reasons = {line["reason"] for line in lines}
    if sink == "resets_before":
        reasons.discard("connect")  # where the reset was there before our side had noticed that it was connected
    assert reasons == {REASONS[sink]} and {line["event"] for line in lines} == {"delivery.retrying"}
    status = {"redirects": 307, "storm": 503}.get(sink)
    assert {line.get("status") for line in lines} == {status}
    assert {state for state, _, _ in seen.deliveries[sink]} == {"queued"}
    assert all(attempts == retries <= 2 for _, attempts, retries in seen.deliveries[sink])


@pytest.mark.parametrize("sink", BUSY)
def test_a_sink_that_asks_for_time_gets_it_and_no_attempt_is_spent(seen: Seen, sink: str) -> None:
    """Their schedules have a single attempt: had one been spent, its delivery would be dead."""
    lines = [line for line in seen.of(sink) if line["event"].startswith("delivery.")]
    assert {(line["event"], line["reason"]) for line in lines} == {("delivery.deferred", BUSY[sink])}
    assert {(state, retries) for state, _, retries in seen.deliveries[sink]} == {("queued", 0)}
    assert len(seen.deliveries[sink]) == NUMBER
    for line in lines:
        waits = datetime.fromisoformat(line["next_attempt_at"]) - datetime.fromisoformat(line["time"])
        assert 0.5 < waits.total_seconds() < 3


def test_a_redirect_is_not_followed_to_anywhere(seen: Seen) -> None:
    assert seen.elsewhere == 0


def test_an_answer_of_ten_megabytes_is_delivered_and_not_read_to_its_end(seen: Seen) -> None:
    assert {line["event"] for line in seen.of("large")} == {"delivery.delivered"}
    assert seen.written and max(seen.written) < LARGE


# --- the breaker

BREAKER = 'concurrency = 1\nretry = ["0s", "50ms", "50ms", "50ms"]\nbreaker = { failures = 3, probe = "100ms" }'
"""Without the breaker, a sink that is down for more than a moment ends every delivery."""
DOWN = (500, dict[str, str]())
UP = (200, dict[str, str]())


async def act(running: Running, sink: str, what: str, actor: str = "x") -> dict[str, Any]:
    """Pause or resume a sink through the admin listener."""
    body = json.dumps({"actor": actor}).encode()
    raw = request_bytes(body, [("Content-Type", "application/json")], path=f"/api/sinks/{sink}/{what}")
    said = await exchange(running.addresses["admin"], raw)
    assert said.status == 200, said
    return said.json()


async def waiting(running: Running, number: int, sink: str = "erp") -> list[bytes]:
    """So many deliveries that wait, all before the first attempt is made."""
    await act(running, sink, "pause")
    bodies = [event() for _ in range(number)]
    for body in bodies:
        assert (await running.post(body)).outcome == (200, "accepted")
    await act(running, sink, "resume")
    return bodies


async def breaker_gate(running: Running) -> bool:
    metrics = (await running.admin("/metrics")).body.decode()
    return 'legitmark_gateway_gate_closed{gate="breaker",sink="erp"} 1.0' in metrics


def log_lines(running: Running, name: str) -> int:
    return sum(f'"event": "{name}"' in line for line in running.stderr().splitlines())


SPENT = "SELECT sum(attempts), sum(retries), count(*) FILTER (WHERE state = 'queued'), count(*) FROM deliveries"


async def test_a_sink_that_is_down_all_night_costs_nobody_an_attempt_and_drains_oldest_first(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=BREAKER) + route("erp")) as running, no_traceback(running):
            bodies = await waiting(running, 40)
            await until(lambda: len(receiver.requests) >= 3 + 4, PATIENCE)
            await until(lambda: len(running.audit("delivery.retrying")) == len(receiver.requests), PATIENCE)
            ((attempts, retries, queued, number),) = running.rows(SPENT)
            assert (retries, queued, number) == (3, 40, 40)  # the three that opened it; the probes cost nothing
            assert attempts == len(receiver.requests) < 12
            assert await breaker_gate(running)
            assert len(running.audit("sink.opened", sink="erp")) == log_lines(running, "sink.opened") == 1
            assert not running.audit("sink.closed") and not running.audit("delivery.dead")
            untouched = {body for body in bodies if not receiver.of(body)}
            assert len(untouched) > 25

            down_for = len(receiver.requests)
            receiver.always = UP
            await until(lambda: len(running.audit("delivery.delivered")) == 40, PATIENCE)
            drained = [request.body for request in receiver.requests[down_for:]]
            assert [body for body in drained if body in untouched] == [body for body in bodies if body in untouched]
            assert len(running.audit("sink.opened")) == log_lines(running, "sink.opened") == 1
            assert len(running.audit("sink.closed")) == log_lines(running, "sink.closed") == 1
            assert not await breaker_gate(running)
            assert running.rows(SPENT)[0][1:] == (3, 0, 40)


async def test_each_change_of_the_breaker_is_told_once(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, more=BREAKER) + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            for night in range(1, 4):
                receiver.always = DOWN
                await waiting(running, 6)
                await until(lambda night=night: len(running.audit("sink.opened")) == night, PATIENCE)  # type: ignore[misc]
                receiver.always = UP
                await until(lambda night=night: len(running.audit("delivery.delivered")) == 6 * night, PATIENCE)  # type: ignore[misc]
                changes = [line["event"] for line in running.audit() if line["event"] in ("sink.opened", "sink.closed")]
                assert changes == ["sink.opened", "sink.closed"] * night
                assert log_lines(running, "sink.opened") == log_lines(running, "sink.closed") == night


async def test_an_open_breaker_survives_a_crash_and_nothing_but_the_probe_is_sent(tmp_path: Path) -> None:
    more = BREAKER.replace("100ms", "200ms")
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running, no_traceback(running):
            await waiting(running, 20)
            await until(lambda: len(receiver.requests) >= 3 + 1, PATIENCE)
            await until(lambda: len(running.audit("delivery.retrying")) == len(receiver.requests), PATIENCE)
            await running.restart()
            assert await breaker_gate(running)
            before = len(receiver.requests)
            await until(lambda: len(receiver.requests) >= before + 2, PATIENCE)
            await until(lambda: len(running.audit("delivery.retrying")) >= before + 2, PATIENCE)
            probes = receiver.requests[before:]
            assert probes[1].at - probes[0].at > 0.2  # one at a time, with a wait that is at least the configured one
            assert running.rows(SPENT)[0][1:] == (3, 20, 20)
            assert len(running.audit("sink.opened")) == 1 and not running.audit("sink.closed")
            receiver.always = UP
            await until(lambda: len(running.audit("delivery.delivered")) == 20, PATIENCE)
            assert len(running.audit("sink.opened")) == len(running.audit("sink.closed")) == 1
            assert not running.audit("delivery.dead")


@pytest.mark.parametrize("poisoned", [1, 2, 4])
async def test_poisoned_messages_cannot_hold_the_breaker_shut_for_the_others(tmp_path: Path, poisoned: int) -> None:
    """They come first, open it by themselves, and are what the probe would take if it always took the oldest."""

    def reply(heard: Heard) -> bytes:
        return answer(500 if b"poison" in heard.body else 200)

    more = 'concurrency = 1\nretry = ["0s", "1ms", "1ms", "1ms", "1ms"]\nbreaker = { failures = 3, probe = "100ms" }'
    async with HttpServer(reply) as server:
        toml = f'[sinks.erp]\ntype = "http"\nurl = "{server.url}"\n{more}\n' + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            for at in range(poisoned):
                await running.post(event(f"poison-{at}"))
            await until(lambda: running.audit("sink.opened"), PATIENCE)
            await until(lambda: len(running.audit("delivery.retrying")) >= 3 + 2, PATIENCE)
            bodies = [event() for _ in range(20)]
            for body in bodies:
                await running.post(body)
            await until(lambda: len(running.audit("delivery.delivered")) == 20, PATIENCE)
            assert not [line for line in running.audit("delivery.dead") if line["reason"] != "attempts_exhausted"]
            heard = Counter(one.body for one in server.heard)
            assert [heard[body] for body in bodies] == [1] * 20


# --- pause and resume


async def test_a_paused_sink_gets_nothing_until_it_is_resumed_not_even_after_a_crash(tmp_path: Path) -> None:
    with Receiver() as receiver, Receiver() as other:
        toml = http_sink(receiver) + http_sink(other, "other") + route("erp", "other")
        with Running(tmp_path, toml) as running, no_traceback(running):

            async def post(number: int, so_far: int) -> None:
                """When the other sink has them all, the paused one would have had them, too."""
                for _ in range(number):
                    await running.post(event())
                await until(lambda: len(running.audit("delivery.delivered", sink="other")) == so_far, PATIENCE)

            assert (await act(running, "erp", "pause", "ada"))["changed"] is True
            assert (await act(running, "erp", "pause", "bob"))["changed"] is False
            await post(5, 5)
            assert not receiver.requests
            await running.restart()
            await post(5, 10)
            assert not receiver.requests
            metrics = (await running.admin("/metrics")).body.decode()
            assert 'legitmark_gateway_gate_closed{gate="paused",sink="erp"} 1.0' in metrics
            assert running.rows("SELECT state, sum(attempts), count(*) FROM deliveries WHERE sink = 'erp' GROUP BY 1") == [
                ("queued", 0, 10)
            ]
            assert (await act(running, "erp", "resume", "eve"))["changed"] is True
            await until(lambda: len(running.audit("delivery.delivered", sink="erp")) == 10, PATIENCE)
            assert len(receiver.requests) == 10
            acts = [
                (line["event"], line["actor"]) for line in running.audit() if line["event"] in ("sink.paused", "sink.resumed")
            ]
            assert acts == [("sink.paused", "ada"), ("sink.resumed", "eve")]


async def test_give_up_after_runs_through_a_pause(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, more='give_up_after = "500ms"') + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            await act(running, "erp", "pause")
            for _ in range(3):
                await running.post(event())
            await until(lambda: len(running.audit("delivery.dead", sink="erp")) == 3, PATIENCE)
            ended = [(line["reason"], line.get("attempt")) for line in running.audit("delivery.dead")]
            assert ended == [("expired", None)] * 3
            await act(running, "erp", "resume")
            await running.post(event())
            await until(lambda: running.audit("delivery.delivered"), PATIENCE)
            assert len(receiver.requests) == 1


async def test_give_up_after_runs_through_an_open_breaker(tmp_path: Path) -> None:
    more = 'concurrency = 1\ngive_up_after = "1s"\nretry = ["0s", "1h"]\nbreaker = { failures = 1, probe = "1h" }'
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running, no_traceback(running):
            await waiting(running, 5)
            await until(lambda: len(running.audit("delivery.dead", sink="erp")) == 5, PATIENCE)
            assert {line["reason"] for line in running.audit("delivery.dead")} == {"expired"}
            assert len(receiver.requests) == 1
