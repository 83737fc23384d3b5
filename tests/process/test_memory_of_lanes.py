"""What deliveries take of memory when many sinks hang and bodies are big: bounded, and the other sinks go on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from gateway.delivery.memory import Memory
from tests.engine.bench import Bench
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

BODY = 114 * 1024
MIB = 1024 * 1024


async def test_memory_is_given_back_when_deliveries_end_fail_are_forgotten_or_expire(bench: Bench) -> None:
    bench.memory = Memory(8 * 4096)
    lane = await bench.start(concurrency=4)
    gate = bench.sink.gate = asyncio.Event()
    async with bench.running():
        await bench.give(50)
        await bench.until_sent(1)
        assert 0 < bench.memory.used <= bench.memory.limit
        lane.refresh()
        gate.set()
        await bench.until_sent(50)
        await bench.until_idle()
    assert bench.memory.used == 0


async def test_a_lane_goes_on_one_by_one_while_others_hold_all_the_memory(bench: Bench) -> None:
    bench.memory = Memory(1000)
    others = bench.memory.account()
    others.take(5000)
    await bench.start()
    async with bench.running():
        await bench.give(30)
        await bench.until_sent(30)
        await bench.until_idle()
    assert bench.memory.used == 5000
    assert await bench.rows("DISTINCT state, attempts") == [("delivered", 1)]


def rss(running: Running) -> int:
    """Bytes of memory that the process has in use, and its peak, by proc_pid_status(5)."""
    assert running.process is not None
    (line,) = [line for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


SINKS = 60
MESSAGES = 40


async def test_many_sinks_that_hang_with_big_bodies_leave_memory_and_the_other_sinks_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as mute, Receiver() as well:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"  # the kernel takes the connections, and nobody reads from them
        hanging = [f"hangs{number}" for number in range(SINKS)]
        toml = "".join(f'[sinks.{name}]\ntype = "http"\nurl = "{url}"\ntimeout = "5m"\n' for name in hanging)
        toml += http_sink(well, "well") + route(*hanging, "well")
        with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
            at_start = rss(running)
            for _ in range(MESSAGES):
                assert (await running.post(event(filling="x" * BODY))).outcome == (200, "accepted")
            await until(lambda: len(well.requests) == MESSAGES, 30)
            live = rss(running) - at_start
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.start)
            for _ in range(MESSAGES):
                assert (await running.post(event(filling="x" * BODY))).outcome == (200, "accepted")
            await until(lambda: len(well.requests) == 2 * MESSAGES, 30)
            again = rss(running) - at_start
            held = {
                line.split()[0]: float(line.split()[1])
                for line in (await running.admin("/metrics")).body.decode().splitlines()
                if "_memory_" in line and line[0] != "#"
            }

    assert max(live, again) < 160 * MIB, (live, again)
    assert (
        held["legitmark_gateway_delivery_memory_bytes"] < 80 * MIB
        and held["legitmark_gateway_delivery_memory_limit_bytes"] == 64 * MIB
    )
