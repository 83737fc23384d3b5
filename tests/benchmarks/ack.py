"""How many durable acks a second, as a share of what a bare aiohttp handler answers on the same core in the same run.

The bare handler answers `web.Response()` and does nothing else: it reads no body and builds no JSON. An ack of the gateway means
that the webhook was verified, decoded and found to be no duplicate; that the message and its three deliveries are committed with
fsync (`synchronous=FULL`); and that its audit line is written. Every request is signed beforehand and new to the gateway.

Each round measures three servers, one after the other: the bare handler, the gateway with its three sinks paused, and the gateway
with three JSONL sinks that deliver meanwhile. Needs wrk. Exit 1 if a median share is below its floor. Run it alone: two cores are
all it needs and all it has.

    python tests/benchmarks/ack.py [--seconds 8] [--rounds 3] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.samples import SAMPLES
from gateway.core.secrets import Secret
from gateway.core.signature import Key, sign
from gateway.core.values import rfc3339
from gateway.host.clock import Clock

SINKS = 3
FLOORS = {"sinks paused": 0.28, "sinks delivering": 0.18}
"""The least share of the bare handler, by mode."""
AT_LEAST = 12_000
"""Requests a second that are signed beforehand, however slow the bare handler was while other work kept the core busy."""
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SERVER_CORE, LOAD_CORE = "0", "1"

BARE = """
import asyncio, sys
from aiohttp import web

async def answer(request):
    return web.Response()

async def main():
    app = web.Application()
    app.router.add_post("/webhooks/legitmark", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
    await asyncio.Event().wait()

if "uvloop" in sys.argv:
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
"""

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
[admin]
listen = ["127.0.0.1:{admin}"]
[sources.legitmark]
secrets = [{{ env = "BENCH_SECRET" }}]
[sinks.one]
type = "jsonl"
path = "one.jsonl"
[sinks.two]
type = "jsonl"
path = "two.jsonl"
[sinks.three]
type = "jsonl"
path = "three.jsonl"
[[routes]]
name = "everything"
sinks = ["one", "two", "three"]
"""

# The requests of the file in order, and again for the bare handler: offsets are read at start, so that Lua does no work
# per request but a slice.
LUA = """
local file = io.open("{requests}", "rb")
local all = file:read("*a")
file:close()
local requests, at = {{}}, 1
while at <= #all do
  local length = tonumber(all:sub(at, at + 7))
  requests[#requests + 1] = all:sub(at + 8, at + 7 + length)
  at = at + 8 + length
end
all = nil
local next_one = 0
request = function()
  next_one = next_one + 1
  if next_one > #requests then next_one = 1 end
  return requests[next_one]
end
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="durable acks against a bare aiohttp handler")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        print("skipped: wrk and taskset are needed (on Debian: apt install wrk util-linux)")
        return 0
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        rounds = [_round(Path(folder), number, options) for number in range(options.rounds)]
    below = False
    for mode, floor in FLOORS.items():
        share = statistics.median(shares[mode] for shares in rounds)
        below |= share < floor
        print(f"median share of a bare handler, {mode}: {share:.2f} (floor {floor})")
    return 1 if below else 0


def _round(folder: Path, number: int, options: argparse.Namespace) -> dict[str, float]:
    """The gateway's share of the bare handler, by mode."""
    port, place = _port(), folder / str(number)
    place.mkdir()
    script = place / "load.lua"
    script.write_text(LUA.format(requests=place / "requests"))
    bare_code = place / "bare.py"
    bare_code.write_text(BARE)
    with _server([sys.executable, str(bare_code), str(port), *_loop()], port):
        _sign(place / "requests", 20_000, port)
        bare, latency = _load(script, port, options)
    print(f"round {number + 1}: bare {bare:,.0f}/s; {latency}")
    shares = {}
    for mode in FLOORS:
        _sign(place / "requests", int(max(bare, AT_LEAST) * (options.seconds + 2)), port)
        shares[mode] = _durable(place / mode.replace(" ", "-"), script, port, options, paused=mode == "sinks paused") / bare
        print(f"         {shares[mode]:.2f} of bare, {mode}")
    (place / "requests").unlink()
    return shares


def _durable(place: Path, script: Path, port: int, options: argparse.Namespace, *, paused: bool) -> float:
    """Acks a second of a new gateway. Fails if an ack was anything but a new message with a delivery for each sink."""
    place.mkdir()
    admin = _port()
    config = place / "gateway.toml"
    config.write_text(CONFIG.format(port=port, admin=admin))
    with _server([sys.executable, "-m", "gateway", "serve", "--config", str(config)], port):
        if paused:
            for name in ("one", "two", "three"):
                _post(admin, f"/api/sinks/{name}/pause")
        acks, latency = _load(script, port, options)
        accepted = _metric(admin, "legitmark_gateway_messages_total", 'result="accepted"')
        others = _metric(admin, "legitmark_gateway_messages_total") - accepted
        commits = _metric(admin, "legitmark_gateway_commit_seconds_count")
        delivered = _metric(admin, "legitmark_gateway_deliveries_ended_total", 'state="delivered"')
        queued = _metric(admin, "legitmark_gateway_deliveries", 'state="queued"')
    assert others == 0, f"{others:,.0f} requests were no new messages"
    assert delivered + queued >= SINKS * accepted * 0.99, "each message owes a delivery to each sink"
    assert paused == (delivered == 0), "paused sinks deliver nothing, and the others do"
    print(
        f"         durable {acks:,.0f}/s; {latency}; {accepted:,.0f} accepted in {commits:,.0f} commits,"
        f" {delivered:,.0f} delivered meanwhile"
    )
    return acks


def _sign(file: Path, count: int, port: int) -> None:
    """`count` whole HTTP requests, each after its length in eight digits."""
    clock, key = Clock(), Key(Secret(SECRET))
    template = {**SAMPLES["counterfeit"]}
    with file.open("wb") as out:
        for _ in range(count):
            name = clock.new_id()
            event = {**template, "sr_uuid": str(uuid.uuid4()), "timestamp": rfc3339(clock.now())}
            body = json.dumps(event, separators=(",", ":")).encode()
            headers = sign([key], f"msg_{name}", clock.now(), body, family="svix")
            lines = [f"POST /webhooks/legitmark HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"]
            lines += [f"{header}: {value}\r\n" for header, value in headers.items()]
            request = "".join([*lines, f"Content-Length: {len(body)}\r\n\r\n"]).encode() + body
            out.write(b"%08d" % len(request) + request)


def _load(script: Path, port: int, options: argparse.Namespace) -> tuple[float, str]:
    """Requests a second, and wrk's words on latency. Fails on any answer but 200."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency"]
    said = subprocess.run([*command, "-s", str(script), f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in said.stdout and "Socket errors" not in said.stdout, said.stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)
    percentiles = re.findall(r"(50|99)%\s+([\d.]+\w?s)", said.stdout)
    assert rate is not None, said.stdout
    return float(rate[1]), ", ".join(f"p{name} {value}" for name, value in percentiles)


@contextmanager
def _server(command: list[str], port: int) -> Iterator[None]:
    environment = {**os.environ, "BENCH_SECRET": SECRET}
    process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *command], env=environment, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_listening(port))
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _listening(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise TimeoutError(f"nothing listens on {port}")


def _post(port: int, path: str) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=b'{"actor": "benchmark"}',
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    urllib.request.urlopen(request, timeout=5).close()


def _metric(port: int, name: str, label: str = "") -> float:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name) and label in line)


def _loop() -> list[str]:
    """The bare handler gets the event loop that the gateway takes."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return []
    return ["uvloop"]


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
