"""Hostile clients: slow requests, bombs, floods, too many connections, and old messages that blame our clock."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import PATH, event, new_id, signed

HEAD = request_bytes(b"", [("Content-Length", "1000"), *signed(b"{}")], length=False)
ARCHIVE = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n' + route("archive")
GONE_WITHIN = 16.0
"""Seconds after which a connection that sends nothing useful is closed, on a machine that does nothing else."""


# --- slow ones


async def drip(running: Running, fast: bytes, slow: bytes) -> tuple[float, bytes]:
    """Send `fast` at once, then repeat `slow` at a byte per second. Return the seconds until the end, and the answer."""
    async with running.connection() as (reader, writer):
        started = time.monotonic()
        said = asyncio.ensure_future(reader.read())
        writer.write(fast)
        at = 0
        while not said.done() and time.monotonic() - started < PATIENCE:
            writer.write(slow[at % len(slow) :][:1])
            at += 1
            await asyncio.wait((said,), timeout=1)
        taken = time.monotonic() - started
        said.cancel()
        answers = await asyncio.gather(said, return_exceptions=True)
        return taken, answers[0] if isinstance(answers[0], bytes) else b""


async def test_slow_headers_and_bodies_are_cut_off_while_others_are_served(tmp_path: Path) -> None:
    with Running(tmp_path, ARCHIVE) as running, no_traceback(running):
        body = event()
        whole = request_bytes(body, signed(body))
        announced = [("Content-Length", "100000"), *signed(body)]
        chunked = [("Transfer-Encoding", "chunked"), *signed(body)]
        kinds: dict[str, tuple[bytes, bytes]] = {
            "nothing but a connection": (b"", b"\r\n"),
            "headers": (b"", b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 100),
            "one endless header": (f"POST {PATH} HTTP/1.1\r\nX-A: ".encode(), b"a"),
            "headers of a second request": (whole, f"POST {PATH} HTTP/1.1\r\nX-A: ".encode() + b"a" * 100),
            "a body": (request_bytes(b"", announced, length=False), b"x"),
            "a body in chunks": (request_bytes(b"", chunked, length=False), b"1\r\nx\r\n"),
            "a body for nobody": (request_bytes(b"", announced, length=False, path="/nowhere"), b"x"),
            "a body that is refused": (request_bytes(b"", [*announced, ("Content-Encoding", "br")], length=False), b"x"),
        }
        clients = {(name, at): asyncio.ensure_future(drip(running, *kinds[name])) for name in kinds for at in range(12)}
        answers: list[Answer] = []
        while not all(client.done() for client in clients.values()):
            answers.append(await running.post(event()))
            await asyncio.wait(clients.values(), timeout=0.2)
        ends = {key: client.result() for key, client in clients.items()}
        assert {answer.outcome for answer in answers} == {(200, "accepted")} and len(answers) > 10
        slowest = max(answer.seconds for answer in answers)
        assert slowest < 10, "none waited until a slow client was gone"
        # A machine that is busy delays a timer by no more than it delays an answer, again and again all that time.
        late = {name: taken for (name, _), (taken, _) in ends.items() if taken > GONE_WITHIN + 1 + 4 * slowest}
        assert not late, f"the slowest answer took {slowest:.2f} s"
        statuses = {(name, said.partition(b" ")[2][:3]) for (name, _), (_, said) in ends.items()}
        told = {"a body": b"408", "a body in chunks": b"408", "a body for nobody": b"404", "a body that is refused": b"415"}
        for name, status in told.items():
            # Not all twelve: a byte that arrives after the close makes the client lose the answer (RFC 9112, section 9.6).
            assert {(name, status)} <= {one for one in statuses if one[0] == name} <= {(name, status), (name, b"")}


# --- bombs


def gzip_bomb(size: int) -> bytes:
    """Make about so many bytes of gzip, which hold a thousand times as many zeros, by repeating one piece."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(b"\0" * (8 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # after it, nothing refers back
    head = gzip.compress(b"")[:10]
    return head + piece * (size // len(piece))


@pytest.mark.parametrize("before", [b"", request_bytes(b"", path="/nowhere")], ids=["fresh", "kept"])
async def test_a_head_that_never_ends_delays_a_stop_no_longer_than_a_body(before: bytes, tmp_path: Path) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n' + ARCHIVE
    with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
        async with running.connection() as (half, into_half), running.connection() as (whole, into_whole):
            into_half.write(before + HEAD[:40])
            into_whole.write(HEAD)
            assert (await running.post(event())).outcome == (200, "accepted"), "it was connected last: the others were read"
            running.terminate()
            assert b" 408 " in await whole.read(), "a body is waited for, and told that it came too late"
            assert (await half.read()).count(b"HTTP/1.1") == bool(before)
            assert await running.exit_code() == 0
        assert "gateway.cut" not in running.stderr()


async def test_a_gzip_bomb_costs_hardly_any_time(tmp_path: Path) -> None:
    """Unpacked, these two take several seconds. One is within `max_body`, the other has 4 MiB even as it is packed."""
    small, large = gzip_bomb(250 * 1024), gzip_bomb(4 * 1024 * 1024)
    assert len(small) < 256 * 1024 and len(zlib.decompressobj(31).decompress(small, 64 << 20)) == 64 << 20
    with Running(tmp_path, ARCHIVE) as running, no_traceback(running):
        assert (await running.post(event())).outcome == (200, "accepted")
        before = running.cpu_seconds()
        for bomb in (small, large):
            answer = await running.post(bomb, [("Content-Encoding", "gzip"), *signed(b"{}")])
            assert answer.outcome == (415, "unsupported_encoding")
        assert (await running.post(event())).outcome == (200, "accepted")
        assert running.cpu_seconds() - before < 1.0


# --- floods


async def pipelined(running: Running, raw: list[bytes]) -> Counter[int]:
    """Send them all over one connection without waiting. Return the statuses that came back until it was closed."""
    async with running.connection() as (reader, writer):

        async def send() -> None:
            for at in range(0, len(raw), 50):
                writer.write(b"".join(raw[at : at + 50]))
                await writer.drain()

        sending = asyncio.ensure_future(send())
        statuses: Counter[int] = Counter()
        try:
            async with asyncio.timeout(PATIENCE):
                while statuses.total() < len(raw):
                    head = await reader.readuntil(b"\r\n\r\n")
                    statuses[int(head.split(b" ")[1])] += 1
                    await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return statuses


async def test_ten_thousand_malformed_requests_write_at_most_a_hundred_lines(tmp_path: Path) -> None:
    body = event()
    right = signed(body)
    garbage = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        request_bytes(body, [("Content-Length", "ten")], length=False),
        request_bytes(body, [("X-Huge", "A" * 50_000)]),
        request_bytes(body, [*right, ("X-No", b"\0")]),
        request_bytes(body, path="/" + "a" * 50_000),
    ]
    refused = [
        (401, request_bytes(body, [*right[:2], ("svix-signature", "v1,AAAA")])),
        (401, request_bytes(body, right[:2])),
        (401, request_bytes(body, signed(body, age=7200, secret="whsec_" + "QUJD" * 8))),
        (401, request_bytes(body)),
        (404, request_bytes(body, right, path="/nowhere")),
        (404, request_bytes(body, right, path="/no\tfmt%00%1b[2J").replace(b"\t", b"-")),
        (405, request_bytes(body, right, method="PUT")),
        (405, request_bytes(b"", method="GET")),
        (415, request_bytes(body, [*right, ("Content-Encoding", "gzip")])),
    ]
    connections, each, broken = 40, 225, 1000
    assert connections * each + broken == 10_000
    with Running(tmp_path, ARCHIVE) as running, no_traceback(running, alive=False):
        assert (await running.post(event())).outcome == (200, "accepted")
        lines = running.stderr().count("\n") + len(running.audit())
        statuses: Counter[int] = Counter()
        for at in range(0, connections, 4):
            floods = [pipelined(running, [raw for _, raw in refused] * (each // len(refused))) for _ in range(4)]
            floods += [pipelined(running, [garbage[(at + of) % len(garbage)]]) for of in range(broken * 4 // connections)]
            for counted in await asyncio.gather(*floods):
                statuses += counted
        wanted = Counter(status for status, _ in refused * (connections * each // len(refused)))
        assert {status: statuses[status] for status in wanted} == wanted
        assert statuses.total() - wanted.total() == statuses[400]
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: len(running.audit("delivery.delivered")) == 2)
        assert await running.stop() == 0  # writes the counts that are still held
        assert running.stderr().count("\n") + len(running.audit()) - lines <= 100
        rejected: Counter[str] = Counter()
        for line in running.audit("message.rejected"):
            rejected[line["reason"]] += line.get("count", 1)
        each_kind = connections * each // len(refused)
        assert rejected == {
            "bad_signature": 2 * each_kind,
            "missing_signature": 2 * each_kind,
            "not_found": 2 * each_kind,
            "method_not_allowed": 2 * each_kind,
            "unsupported_encoding": each_kind,
        }
        said = running.stderr() + running.audit_file.read_text(encoding="utf-8")
        assert "AAAA" not in said and "hello" not in said and "nowhere" not in said and "\x1b" not in said


async def test_idle_connections_give_way_and_the_operator_has_places_of_their_own(tmp_path: Path) -> None:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running):
        async with AsyncExitStack() as stack:
            readers = [(await stack.enter_async_context(running.connection()))[0] for _ in range(600)]
            closed = [asyncio.ensure_future(reader.read(1)) for reader in readers]
            stack.callback(lambda: [future.cancel() for future in closed])
            answers = [await running.post(event()) for _ in range(20)]  # from the address that has used up its share
            assert {answer.outcome for answer in answers} == {(200, "accepted")}
            assert (await running.admin("/-/ready")).status == 200
            await until(lambda: sum(future.done() for future in closed) >= 100)
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: len(receiver.requests) == 21)


# --- our own clock


async def suspect(running: Running) -> tuple[int, int, list[str]]:
    """Lines in the log, the metric, and what /-/ready says."""
    said = [json.loads(line) for line in running.stderr().splitlines() if '"clock.suspect"' in line]
    assert all(line["level"] == "error" for line in said)
    metrics = (await running.admin("/metrics")).body.decode()
    (value,) = [line.split(" ")[1] for line in metrics.splitlines() if line.startswith("legitmark_gateway_clock_suspect ")]
    ready: dict[str, Any] = (await running.admin("/-/ready")).json()
    return len(said), int(float(value)), ready.get("reasons", [])


async def test_three_stale_messages_that_agree_make_our_clock_suspect_but_not_the_gateway_unready(tmp_path: Path) -> None:
    with Running(tmp_path, ARCHIVE) as running, no_traceback(running):

        async def stale(number: int, age: float = 3600) -> None:
            for _ in range(number):
                answer = await running.post(body := event(), signed(body, new_id(), age=age))
                assert answer.outcome == (401, "stale_timestamp")

        async def good() -> None:
            assert (await running.post(event())).outcome == (200, "accepted")

        async def suspected(lines: int, metric: int) -> None:
            async with asyncio.timeout(PATIENCE):
                while (await suspect(running))[:2] != (lines, metric):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(0.05)
            assert (await suspect(running))[2] == []  # a load balancer goes on sending

        # Anybody can send old timestamps: without the right signature they say nothing of our clock.
        for _ in range(5):
            headers = signed(body := event(), age=3600)
            answer = await running.post(body, [*headers[:2], ("svix-signature", "v1,AAAA")])
            assert answer.outcome == (401, "bad_signature")
        # One captured request, however often it comes, is no clock; nor are several that disagree.
        captured = signed(body := event(), new_id(), age=7200)
        for _ in range(10):
            assert (await running.post(body, captured)).outcome == (401, "stale_timestamp")
        await stale(1, age=3000)
        # Two that agree, and then a good one, are messages that were delayed on their way.
        await stale(2)
        await good()
        await stale(2, age=-3600)
        await asyncio.sleep(1.5)  # the watch looks each second: it has to have had its chance
        assert await suspect(running) == (0, 0, [])
        await stale(1, age=-3600)
        await suspected(1, 1)
        await good()
        await suspected(1, 0)
        # Three that were captured, all different, are older than the last good one.
        await stale(3)
        await asyncio.sleep(1.5)
        assert await suspect(running) == (1, 0, [])
        await stale(3, age=-3600)
        await suspected(2, 1)
