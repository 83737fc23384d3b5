"""Keeping refused requests, and accepting them later, does not slow down acknowledgements."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.core.kept_requests import RefusedRequest
from gateway.core.signature import Claim
from gateway.store.sqlite.refused_file import MOST_KEPT, RefusedFile
from tests.support.configurations import route
from tests.support.exchange import read_answer, request_bytes
from tests.support.gateway_process import Running
from tests.support.tracing import trace, traced
from tests.support.waiting import until
from tests.support.webhooks import PATH, SECRET, event, hmac_signature, new_id

OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of an example in the documentation of Svix; here it is the sender's."""
WRONG = "whsec_Zq3kV9x2Lr7TnB5mYc8WdJ4hPs6GfA1u"
MIB = 1024 * 1024
MOST_BYTES = 64 * MIB
SIZE = 6_100
"""Bytes of a body: ten thousand such bodies are nearly the 64 MiB that a source keeps."""
SOURCES = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK" }, { file = "secret" }]
[sources.forgetful]
path = "/webhooks/forgetful"
secrets = [{ file = "secret" }]
keep_refused = "0B"
"""
KEEPS, FORGETS = PATH, "/webhooks/forgetful"
WINDOW = 1.5
"""Seconds."""
ALLOWANCE = 0.05
"""Seconds that other work on this host may take, because fsync shares the disk."""


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """Not started yet."""
    (tmp_path / "secret").write_text(WRONG)
    (tmp_path / "secret").chmod(0o600)
    return Running(tmp_path, SOURCES + '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n' + route("archive"))


def parts(secret: str, size: int) -> tuple[str, str, str, bytes]:
    """The id, timestamp, signature and body of a message."""
    body, message_id, timestamp = event(padding="x" * size), new_id(), str(int(time.time()))
    return message_id, timestamp, hmac_signature(message_id, timestamp, body, secret), body


def raw(secret: str, path: str = PATH, size: int = 0) -> bytes:
    """A request on a connection that stays."""
    *values, body = parts(secret, size)
    names = ("svix-id", "svix-timestamp", "svix-signature")
    return request_bytes(body, list(zip(names, values, strict=True)), path=path)


def fill(file: Path, number: int) -> None:
    """Keep requests as if they had come before."""
    refused = []
    for _ in range(number):
        *claim, body = parts(OTHER, SIZE)
        refused.append(
            RefusedRequest("legitmark", time.time(), Claim(*(text.encode() for text in claim)), "application/json", body)
        )
    with closing(RefusedFile(file)) as kept:
        kept.keep(refused, {"legitmark": MOST_BYTES})


class Client:
    """One connection, on which requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, request: bytes, status: int) -> float:
        """The seconds until the answer."""
        started = time.monotonic()
        self._writer.write(request)
        assert (await read_answer(self._reader, started)).status == status
        return time.monotonic() - started


@asynccontextmanager
async def client(running: Running) -> AsyncIterator[Client]:
    async with running.connection() as (reader, writer):
        yield Client(reader, writer)


async def acknowledged(running: Running, over: asyncio.Event) -> list[float]:
    """Seconds of each acknowledgement of a sender that sends one message after the other."""
    seconds = []
    async with client(running) as sender:
        while not over.is_set():
            seconds.append(await sender.send(raw(SECRET), 200))
            await asyncio.sleep(0.005)
    return seconds


async def refused(running: Running, path: str, over: asyncio.Event) -> int:
    """Send requests with a wrong secret, one after the other, and return how many."""
    sent = 0
    async with client(running) as sender:
        while not over.is_set():
            await sender.send(raw(OTHER, path, SIZE), 401)
            sent += 1
    return sent


async def window(running: Running, path: str | None) -> list[float]:
    """Seconds of acknowledgements, beside refused requests for a source."""
    over = asyncio.Event()
    flooding = asyncio.create_task(refused(running, path, over)) if path else None
    sending = asyncio.create_task(acknowledged(running, over))
    await asyncio.sleep(WINDOW)
    over.set()
    if flooding is not None:
        await flooding
    return await sending


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


def memory(running: Running) -> int:
    """Bytes of memory that the process has now."""
    assert running.process is not None
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{running.process.pid}/status").read_text())
    return int(kib) * 1024


async def metric(running: Running, name: str) -> int:
    text = (await running.admin("/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith(f"legitmark_gateway_{name}{{")]
    return sum(int(float(line.split()[-1])) for line in lines)


@pytest.mark.speed
async def test_acknowledgements_keep_their_p99_while_refused_requests_are_kept_and_reverified(running: Running) -> None:
    """Beside as many requests that are refused and forgotten, in the same run, one window after the other."""
    await asyncio.to_thread(fill, running.folder / "gateway.db.refused", MOST_KEPT - 300)
    with running:
        await window(running, FORGETS)
        before = memory(running)
        kept: list[float] = []
        forgotten: list[float] = []
        for number in range(12):  # more windows if other work of the host disturbs some
            if number >= 4 and p99(kept) < 1.5 * p99(forgotten):
                break
            forgotten += await window(running, FORGETS)
            kept += await window(running, KEEPS)
        assert await metric(running, "refused_kept") == MOST_KEPT
        assert await metric(running, "refused_kept_bytes") <= MOST_BYTES
        files = sum(file.stat().st_size for file in running.folder.glob("gateway.db.refused*"))

        others = await window(running, None)
        (running.folder / "secret").write_text(OTHER)
        reloading = asyncio.create_task(running.admin("/-/reload", method="POST"))
        during: list[float] = []
        while await metric(running, "refused_kept"):
            during += await window(running, None)
        assert (await reloading).status == 200
        others += await window(running, None)
        grown = memory(running) - before
    figures = {"kept": kept, "forgotten": forgotten, "taking in": during, "nothing": others}
    said = ", ".join(f"{name} {p99(seconds) * 1000:.1f} ms of {len(seconds)}" for name, seconds in figures.items())
    print(f"p99 beside what is {said}; {grown / MIB:.1f} MiB of memory, {files / MIB:.1f} MiB of files")
    assert p99(kept) < 1.5 * p99(forgotten) + ALLOWANCE and p99(during) < 2 * p99(others) + ALLOWANCE, said
    assert grown < 32 * MIB and files < 1.5 * MOST_BYTES


async def test_keeping_a_refused_request_never_waits_for_the_disk(running: Running, strace: str) -> None:
    with running:
        assert running.process is not None
        said = running.folder / "strace.log"
        command = [strace, "-f", "-y", "-o", str(said), "-e", "trace=fsync,fdatasync,sync_file_range"]
        tracer = trace([*command, "-p", str(running.process.pid)])
        try:
            await until(lambda: traced(running))
            async with client(running) as sender:
                for _ in range(50):
                    await sender.send(raw(OTHER, KEEPS, SIZE), 401)
                    await sender.send(raw(SECRET), 200)
            assert await running.stop() == 0
        finally:
            tracer.kill()
            tracer.wait(60)
    with closing(RefusedFile(running.folder / "gateway.db.refused")) as kept:
        assert kept.kept()["legitmark"].count == 50
    waits = said.read_text()
    assert "gateway.db-wal" in waits and ".refused" not in waits
