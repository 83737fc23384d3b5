"""Many sinks that hang with big bodies: the memory of a real gateway stays bounded, and the other sinks go on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

BODY = 114 * 1024
MIB = 1024 * 1024
SINKS = 60
MESSAGES = 40


def peak_memory(running: Running) -> int:
    """The most bytes of memory that the process has had in use (VmHWM of proc_pid_status(5))."""
    assert running.process is not None
    (line,) = [line for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def delivered(receiver: Receiver) -> set[str]:
    """The deliveries that have arrived. One that was on its way when the gateway was killed may have arrived twice."""
    return {request.headers["idempotency-key"] for request in receiver.requests}


async def test_many_hung_sinks_with_big_bodies_exhaust_no_memory_and_delay_no_other_sink(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as mute, Receiver() as well:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"  # the kernel accepts the connections, and no process reads from them
        hanging = [f"hangs{number}" for number in range(SINKS)]
        toml = "".join(f'[sinks.{name}]\ntype = "http"\nurl = "{url}"\ntimeout = "5m"\n' for name in hanging)
        toml += http_sink(well, "well") + route(*hanging, "well")
        with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
            at_start = peak_memory(running)
            for _ in range(MESSAGES):
                assert (await running.post(event(filling="x" * BODY))).outcome == (200, "accepted")
            await until(lambda: len(delivered(well)) == MESSAGES)
            live = peak_memory(running) - at_start
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.start)
            for _ in range(MESSAGES):
                assert (await running.post(event(filling="x" * BODY))).outcome == (200, "accepted")
            await until(lambda: len(delivered(well)) == 2 * MESSAGES)
            again = peak_memory(running) - at_start
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
