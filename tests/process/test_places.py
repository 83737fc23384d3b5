"""Connections to the real process: working clients are served beside slow ones, and no close loses a request or an answer.

All of 127.0.0.0/8 is this host, so a test can be many peers.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

from tests.support.certificates import Certified
from tests.support.exchange import exchange, read_answer, request_bytes
from tests.support.forked_gateway import CODE
from tests.support.gateway_process import Running, no_traceback
from tests.support.service_manager import listening
from tests.support.slow_clients import pressed
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import PATIENCE
from tests.support.webhooks import event, signed

TOML = "[[routes]]\nsinks = []\n"
SENDER = "127.0.1.1"
MANY = [f"127.0.2.{last}" for last in range(1, 251)]
SLOW = 1000
SLICES = 8


@pytest.fixture(params=["asyncio", "uvloop"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment variables that make the process run on one event loop or the other."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        return {}
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text("raise ImportError\n")
    return {"PYTHONPATH": f"{tmp_path / 'hidden'}:{CODE}"}


def headers(*more: tuple[str, str]) -> bytes:
    return request_bytes(b"", [("Content-Length", "1000"), *signed(b"{}"), *more], length=False)


KINDS: dict[str, bytes] = {
    "a connection and nothing else": b"",
    "half a head": headers()[:80],
    "a head without its body": headers(),
    "a kept connection": request_bytes(b"", path="/nowhere"),
}


async def sent(running: Running, number: int, *, keeps: bool) -> list[float]:
    """Seconds that each of so many webhooks took; every one is accepted."""
    found = []
    address = running.addresses["webhooks"]
    assert isinstance(address, tuple)
    kept = await asyncio.open_connection(*address, local_addr=(SENDER, 0)) if keeps else None
    for _ in range(number):
        body = event()
        raw = request_bytes(body, signed(body))
        started = time.monotonic()
        if kept is not None:
            kept[1].write(raw)
            async with asyncio.timeout(PATIENCE):
                answer = await read_answer(kept[0], started)
        else:
            answer = await exchange(address, raw, local_addr=(SENDER, 0))
        found.append(time.monotonic() - started)
        assert answer.outcome == (200, "accepted")
    if kept is not None:
        kept[1].transport.abort()
    return sorted(found)


@pytest.mark.speed
@pytest.mark.parametrize("sources", [["127.0.0.1"], MANY], ids=["one peer", "many peers"])
async def test_a_working_sender_is_served_beside_a_thousand_slow_clients(
    sources: list[str], tmp_path: Path, variables: dict[str, str]
) -> None:
    with Running(tmp_path, TOML) as running, no_traceback(running):
        await asyncio.to_thread(running.kill)
        running.variables = variables
        await asyncio.to_thread(running.start)
        address = running.addresses["webhooks"]
        assert isinstance(address, tuple)
        quiet: dict[bool, list[float]] = {True: [], False: []}
        under: dict[bool, list[float]] = {True: [], False: []}
        # In turns, so that other work on this host affects both alike. The median counts, not one lucky slice.
        for turn in range(SLICES):
            for keeps in quiet:
                quiet[keeps].append((await sent(running, 100, keeps=keeps))[98])
            with pressed(address, sources, list(KINDS.values()), SLOW, pause=1.0):
                await sent(running, 50, keeps=False)  # until the thousand have found their places
                for keeps in under:
                    under[keeps].append((await sent(running, 100, keeps=keeps))[98])
                assert (await running.admin("/-/ready")).status == 200
            if turn >= 1 and all(min(under[keeps]) <= 2 * median(quiet[keeps]) for keeps in quiet):
                break
        for keeps in quiet:
            before, meanwhile = median(quiet[keeps]), min(under[keeps])
            print(f"{len(sources)} peers, keeps {keeps}: p99 {before * 1000:.1f} ms, pressed {meanwhile * 1000:.1f} ms")
            assert meanwhile <= 2 * before, (quiet, under)


@pytest.mark.parametrize("where", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("sources", [["127.0.0.1"], MANY], ids=["one peer", "many peers"])
async def test_nine_hundred_clients_that_wait_in_the_kernel_at_a_start_are_all_answered(
    where: str, sources: list[str], tmp_path: Path, variables: dict[str, str]
) -> None:
    """More clients than there are places connect at once: none is reset, and none refused.

    By TLS each client has a thread of its own: one for all of them would leave the gateway waiting in the middle of a handshake
    for more than a second, and a client that waits that long gives way on a full server.
    """
    if where == "unix" and len(sources) > 1:
        pytest.skip("who comes through a unix socket has no address")
    certified = Certified(tmp_path)
    certified.issue()
    path = tmp_path / "webhooks.sock"
    with listening(path if where == "unix" else "127.0.0.1") as webhooks:
        toml = f'[server]\nlisten = ["fd:webhooks"]\n{certified.toml if where == "tls" else ""}{TOML}'
        running = SocketActivated(tmp_path, toml, {"webhooks": webhooks})
        running.variables |= variables

        async def post(number: int) -> tuple[int, str]:
            body = event()
            raw = request_bytes(body, signed(body))
            if where == "unix":
                return (await exchange(path, raw, seconds=60)).outcome
            source = (sources[number % len(sources)], 0)
            if where == "tls":
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(threads, certified.post, webhooks.getsockname(), raw, source)
            return (await exchange(webhooks.getsockname(), raw, seconds=60, local_addr=source)).outcome

        with ThreadPoolExecutor(900) as threads:
            waiting = [asyncio.ensure_future(post(number)) for number in range(900)]
            try:
                await asyncio.to_thread(running.start)
                outcomes = await asyncio.gather(*waiting)
            finally:
                running.kill()
        assert set(outcomes) == {(200, "accepted")}
        assert "Traceback" not in running.stderr()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_request_that_arrives_in_pieces_across_a_stop_is_answered(
    tls: bool, tmp_path: Path, variables: dict[str, str]
) -> None:
    """More than a second between the pieces, in the head and in the body, on a new connection, on a kept one,
    and with the request before."""
    certified = Certified(tmp_path)
    certified.issue()
    with Running(tmp_path, f'[server]\nlisten = ["127.0.0.1:0"]\n{certified.toml if tls else ""}{TOML}') as running:
        await asyncio.to_thread(running.kill)
        running.variables = variables
        await asyncio.to_thread(running.start)
        address = running.addresses["webhooks"]
        assert isinstance(address, tuple)
        streams = []
        for kept in (False, True, "pipelined"):
            for cut in (30, -10):
                reader, writer = await asyncio.open_connection(*address, **(certified.options if tls else {}))
                before, body = event(), event()
                raw = request_bytes(body, signed(body))
                if kept:
                    begun = raw[:cut] if kept == "pipelined" else b""
                    writer.write(request_bytes(before, signed(before)) + begun)
                    assert (await read_answer(reader, 0.0)).status == 200
                if kept != "pipelined":
                    writer.write(raw[:cut])
                streams.append((reader, writer, raw[cut:]))
        idle_reader, idle_writer = await asyncio.open_connection(*address, **(certified.options if tls else {}))
        last_reader, last_writer = await asyncio.open_connection(*address, **(certified.options if tls else {}))
        body = event()
        last_writer.write(request_bytes(body, signed(body)))
        assert (await read_answer(last_reader, 0.0)).status == 200, "all pieces were read"
        running.terminate()
        assert await idle_reader.read() == b""  # the second of a fresh connection is over
        assert await last_reader.read() == b""  # and the two of a kept one
        for writer in (idle_writer, last_writer):
            writer.transport.abort()
        for reader, writer, rest in streams:
            writer.write(rest)
            answer = await read_answer(reader, 0.0)
            assert (answer.outcome, answer.header("connection")) == ((200, "accepted"), "close")
            writer.transport.abort()
        assert await running.exit_code() == 0
        assert "gateway.cut" not in running.stderr() and "Traceback" not in running.stderr()


async def test_an_answer_that_ends_a_connection_arrives_even_if_the_client_sent_more(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Unread bytes turn a close into a reset, and the client would lose the answer (RFC 9112, section 9.6)."""
    with Running(tmp_path, TOML) as running, no_traceback(running):
        await asyncio.to_thread(running.kill)
        running.variables = variables
        await asyncio.to_thread(running.start)
        large = b"x" * 2_000_000
        for raw, status in ((request_bytes(large), 413), (b"GET / HTTP/1.1 \r\n\r\n" + large, 400)):
            for _ in range(20):
                async with running.connection() as (reader, writer):
                    writer.write(raw)
                    answer = await read_answer(reader, 0.0)
                    assert answer.status == status
                    assert await reader.read() == b"", "an end, and no reset"
