"""Several reloads a second of 200 sinks and 200 routes neither slow deliveries down nor hold the event loop (promise 10)."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import quantiles

import pytest
import structlog

from gateway.app.lifecycle import Gateway
from gateway.app.parts import Parts
from gateway.config import load
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from tests.support.exchange import read_answer, request_bytes
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import SECRET, event, signed

pytestmark = pytest.mark.speed

SINKS = 200
EVENTS_PER_SECOND = 60
RELOADS_PER_SECOND = 6
SLICE = 0.6
"""Seconds of each slice; slices with and without reloads alternate."""
PAIRS = 4
ROUNDS = 8
"""Rounds. The best one counts, because another process on this host can spoil some of them."""
MOST_HELD = 0.050


def configuration(port: int, *, timeout: int = 30, first: int = 7, sinks: int = SINKS) -> str:
    """Each route goes to three sinks; the sink with the number `first` has a timeout of its own."""
    text = '[server]\nlisten = ["127.0.0.1:0"]\n[admin]\nlisten = ["127.0.0.1:0"]\n'
    text += '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK" }]\n'
    for at in range(sinks):
        own = timeout if at == first or first < 0 else 30
        text += f'[sinks.s{at}]\ntype = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:{port}/{at}"\ntimeout = "{own}s"\n'
    for at in range(sinks):
        three = ", ".join(f'"s{(at + more) % sinks}"' for more in range(3))
        text += f'[[routes]]\nmatch = {{ event_type = "state_change", sr_uuid = {{ prefix = "x{at}-" }} }}\nsinks = [{three}]\n'
    return text


class Sinks:
    """Where all deliveries go: when each body came."""

    def __init__(self) -> None:
        self.came: dict[bytes, list[float]] = {}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
                self.came.setdefault(body, []).append(time.monotonic())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


class Sender:
    """Posts events at their times, over kept connections."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._number = 0

    async def connect(self) -> None:
        host, port = self._running.addresses["webhooks"]  # type: ignore[misc]
        for _ in range(8):
            self._free.put_nowait(await asyncio.open_connection(host, port))

    async def close(self) -> None:
        while not self._free.empty():
            _, writer = self._free.get_nowait()
            writer.close()
            await writer.wait_closed()

    async def send_for(self, seconds: float) -> dict[bytes, float]:
        """Return when each body was sent."""
        begun, sent, posts = time.monotonic(), dict[bytes, float](), list[asyncio.Task[None]]()
        for number in range(round(seconds * EVENTS_PER_SECOND)):
            await asyncio.sleep(max(begun + number / EVENTS_PER_SECOND - time.monotonic(), 0))
            posts.append(asyncio.create_task(self._post(sent)))
        await asyncio.gather(*posts)
        return sent

    async def _post(self, sent: dict[bytes, float]) -> None:
        reader, writer = connection = await self._free.get()
        self._number += 1
        body = event(f"x{self._number % SINKS}-{self._number}")
        raw = request_bytes(body, signed(body))
        sent[body] = time.monotonic()
        writer.write(raw)
        assert (await read_answer(reader, sent[body])).outcome == (200, "accepted")
        self._free.put_nowait(connection)


@pytest.mark.parametrize("what", ["nothing", "one sink"])
async def test_reloads_do_not_slow_deliveries_down(what: str, tmp_path: Path) -> None:
    """Slices with and without reloads alternate in one run; p50 and p99 grow by at most a half."""
    sinks, seen = Sinks(), list[tuple[float, float, float, float]]()
    async with sinks.served() as port:
        texts = [configuration(port, timeout=31 if number and what == "one sink" else 30) for number in range(2)]
        with Running(tmp_path, texts[0]) as running:
            sender = Sender(running)
            await sender.connect()

            async def reload_for(seconds: float) -> None:
                begun = time.monotonic()
                for number in range(round(seconds * RELOADS_PER_SECOND)):
                    await asyncio.sleep(max(begun + number / RELOADS_PER_SECOND - time.monotonic(), 0))
                    running.config.write_text(texts[(number + 1) % 2])
                    assert (await running.admin("/-/reload", method="POST")).status == 200

            async def took(*, reloads: bool) -> list[float]:
                sent, _ = await asyncio.gather(sender.send_for(SLICE), reload_for(SLICE if reloads else 0))
                await until(lambda: sum(len(sinks.came.get(body, ())) for body in sent) == 3 * len(sent), 20)
                return [at - sent[body] for body in sent for at in sinks.came[body]]

            await took(reloads=True)  # the first one knows nothing of those before
            for _ in range(ROUNDS):
                calm, busy = list[float](), list[float]()
                for _ in range(PAIRS):
                    calm += await took(reloads=False)
                    busy += await took(reloads=True)
                (calm_half, calm_most), (half, most) = (
                    (cut[49], cut[98]) for cut in (quantiles(calm, n=100), quantiles(busy, n=100))
                )
                seen.append((calm_half, half, calm_most, most))
                if min(b / a for a, b, *_ in seen) <= 1.5 and min(b / a for *_, a, b in seen) <= 1.5:
                    break
            await sender.close()
            assert len(running.audit("config.reloaded")) >= 4 * PAIRS
            assert {line["detail"] == "nothing changed" for line in running.audit("config.reloaded")} == {what == "nothing"}
    half, most = min(two / one for one, two, *_ in seen), min(two / one for *_, one, two in seen)
    assert half <= 1.5 and most <= 1.5, f"p50 and p99 in seconds, calm and with reloads: {seen}"


async def test_no_reload_holds_the_event_loop(tmp_path: Path) -> None:
    """The processor time of each turn of the loop counts, because other processes on this host do not add to it."""
    file, log = tmp_path / "gateway.toml", structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    file.write_text(configuration(9))
    environment = Environment({"LEGITMARK": SECRET})
    built = list[Parts]()
    running = Gateway(load(file, environment), clock=Clock(), log=log, environment=environment, built=built.append)
    held: dict[str, float] = {}
    now = ""

    async def beat() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            last, before = time.thread_time(), last
            held[now] = max(held.get(now, 0.0), last - before)

    gc.collect()
    gc.freeze()  # as the process does: the collector would look at all that the tests before this one left
    serving = asyncio.create_task(running.run())
    async with asyncio.timeout(PATIENCE):
        await running.serving.wait()
        reloads = built[0].reloads
        beating = asyncio.create_task(beat())
        for now, text in (
            ("nothing, after the start", configuration(9)),
            ("nothing", configuration(9)),
            ("one sink", configuration(9, timeout=31)),
            ("all sinks", configuration(9, timeout=32, first=-1)),
            ("most sinks leave", configuration(9, sinks=10)),
            ("most sinks come back", configuration(9, timeout=33, first=-1)),
            ("other sinks for all", re.sub(r"\bs(\d)", r"other\1", configuration(9))),
        ):
            file.write_text(text)
            changes = await reloads.reload("somebody")
            assert (changes.changes == ()) == now.startswith("nothing")
        now = "after the last"
        running.stop()
        await serving
    beating.cancel()
    gc.unfreeze()
    assert max(held.values()) < MOST_HELD, held
