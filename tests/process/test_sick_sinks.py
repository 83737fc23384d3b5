"""Sinks that fail in every way that a network allows, beside one that works."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
import trustme

from tests.sinks.http_server import Heard, HttpServer, after_request, answer, read_request
from tests.sinks.tcp_server import Server, reset_connection
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, new_id

pytestmark = pytest.mark.speed

NUMBER = 100
"""Events in each measurement."""
PACE = 0.002
"""Seconds between two events where one sick sink is measured."""
WORK = 0.005
"""Seconds that an attempt which fails (a handshake, a connection) may cost a busy machine: work, and no waiting."""
ROUNDS = 12
"""The most rounds for one sick sink."""
LARGE = 10 * 1024 * 1024


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
    """Close the sending side without an answer, and read until the client closes."""
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
"""The reason in the audit log for each sink that gives no useful answer."""
BUSY = {"busy": "rate_limited", "busy_until": "rate_limited", "down_for": "unavailable"}
"""The reason in the audit log for each sink that asks for time."""
SICK = [*REASONS, *BUSY, "large"]


class Seen(NamedTuple):
    audit: list[dict[str, Any]]
    deliveries: dict[str, list[tuple[str, int, int]]]
    """The state, attempts and retries of each delivery, by sink."""
    bodies: list[bytes]
    received: list[bytes]
    elsewhere: int
    usual: float
    beside: float
    """p99, in seconds from the request's begin to the healthy sink's."""
    alone: dict[str, float]
    """p99 beside a single sick sink, and as `twin` beside a single healthy one."""
    answers: set[tuple[int, str]]
    written: list[int]
    stderr: str

    def of(self, sink: str) -> list[dict[str, Any]]:
        return [line for line in self.audit if line.get("sink") == sink]


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99) - 1]


async def _post(
    running: Running, well: Receiver, bodies: list[bytes], pace: float = 0.0
) -> tuple[list[float], set[tuple[int, str]]]:
    """Post events one after the other, and return the seconds that each took to reach the healthy sink."""
    started, answers = [], set()
    for body in bodies:
        started.append(time.monotonic())
        answers.add((await running.post(body)).outcome)
        await asyncio.sleep(pace)
    wanted = set(bodies)
    await until(lambda: wanted <= {request.body for request in well.requests})
    arrived = {request.body: request.at for request in reversed(well.requests)}
    return [arrived[body] - at for body, at in zip(bodies, started, strict=True)], answers


def _only(prefix: str) -> str:
    return f'match = {{ sr_uuid = {{ prefix = "{prefix}-" }} }}'


async def _beside(running: Running, well: Receiver, other: str) -> float:
    """p99 beside one other sink."""
    seconds, _ = await _post(running, well, [event(f"{other}-{at}-{new_id()}") for at in range(NUMBER)], PACE)
    return p99(seconds)


def _bound(usual: float) -> float:
    return 2 * usual + WORK


async def _alone(running: Running, well: Receiver) -> dict[str, float]:
    """Other work on this machine may spoil one round; a sick sink that delays others would spoil all of them."""
    usual = median(
        [await _beside(running, well, "twin") for _ in range(5)]
    )  # before any sick sink, because those leave retries behind
    found = {"twin": usual}
    for name in SICK:
        found[name] = await _beside(running, well, name)
        for _ in range(1, ROUNDS):
            if found[name] < _bound(usual):
                break
            found[name] = min(found[name], await _beside(running, well, name))
    return found


async def _night(folder: Path) -> Seen:
    authority = trustme.CA()
    pem = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(pem))
    large = Large()
    with Receiver() as well, Receiver() as twin:
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
            # Their breakers never open, so that they always do their worst. A sink that asks for time has a single attempt.
            more = 'breaker = { failures = 1000000, probe = "1s" }\n'
            parts = [http_sink(well, "well"), http_sink(twin, "twin"), route("twin", more=_only("twin"))]
            for name in SICK:
                schedule = '["0s"]' if name in BUSY else '["0s", "200ms", "1h"]'
                # A lookup may take its time: a packet to a name server that gets lost costs five seconds.
                timeout = "15s" if name == "nameless" else "1s"
                url = urls[name]
                settings = f'type = "http"\nurl = "{url}"\nretry = {schedule}\ntimeout = "{timeout}"\n{more}'
                parts += [f"[sinks.{name}]\n{settings}", f"[sinks.alone_{name}]\n{settings}"]
                parts.append(route(f"alone_{name}", more=_only(name)))
            parts.append(route("well"))
            parts.append(route(*SICK, more=_only("beside")))
            environment = {"SSL_CERT_FILE": str(pem), "SSL_CERT_DIR": str(folder / "none")}
            with Running(folder, "\n".join(parts), environment) as running, no_traceback(running, alive=False):
                await _post(running, well, [event() for _ in range(20)])
                alone = await _alone(running, well)
                usual, _ = await _post(running, well, [event() for _ in range(NUMBER)])
                bodies = [event(f"beside-{at}") for at in range(NUMBER)]
                beside, answers = await _post(running, well, bodies)

                def all_shown() -> bool:
                    shown = Counter((line["event"], line.get("sink")) for line in running.audit())
                    retried = all(shown["delivery.retrying", name] >= 3 for name in REASONS)
                    deferred = all(shown["delivery.deferred", name] >= 2 for name in BUSY)
                    return retried and deferred and shown["delivery.delivered", "large"] >= 3

                await until(all_shown)
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
                    alone=alone,
                    answers=answers,
                    written=large.written,
                    stderr=running.stderr(),
                )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield asyncio.run(_night(tmp_path_factory.mktemp("night")))


def test_the_healthy_sink_gets_everything_once_and_nearly_as_fast_as_usual(seen: Seen) -> None:
    assert seen.answers == {(200, "accepted")}
    assert sorted(seen.received) == sorted(seen.bodies)
    assert {state for state, _, _ in seen.deliveries["well"]} == {"delivered"}
    assert seen.beside < 2 * seen.usual + 0.25, (seen.usual, seen.beside)


@pytest.mark.parametrize("sink", SICK)
def test_beside_each_sick_sink_the_p99_of_a_healthy_one_stays_within_twice_its_usual(seen: Seen, sink: str) -> None:
    assert seen.alone[sink] < _bound(seen.alone["twin"]), seen.alone


@pytest.mark.parametrize("sink", REASONS)
def test_each_failure_has_its_reason_in_the_audit_log(seen: Seen, sink: str) -> None:
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
    """Their schedules have a single attempt: if a defer cost one, the delivery would be dead."""
    lines = [line for line in seen.of(sink) if line["event"].startswith("delivery.")]
    assert {(line["event"], line["reason"]) for line in lines} == {("delivery.deferred", BUSY[sink])}
    assert {(state, retries) for state, _, retries in seen.deliveries[sink]} == {("queued", 0)}
    assert len(seen.deliveries[sink]) == NUMBER
    for line in lines:
        waits = datetime.fromisoformat(line["next_attempt_at"]) - datetime.fromisoformat(line["time"])
        assert 0.5 < waits.total_seconds() < 3


def test_no_redirect_is_followed(seen: Seen) -> None:
    assert seen.elsewhere == 0


def test_an_answer_of_ten_megabytes_is_delivered_and_not_read_to_its_end(seen: Seen) -> None:
    assert {line["event"] for line in seen.of("large")} == {"delivery.delivered"}
    assert seen.written and max(seen.written) < LARGE
