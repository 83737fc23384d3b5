"""Other programs that take webhooks or send notifications, on the same core as the gateway and in turns with it.

`make bench-peers` installs those of Python and Node.js into build/peers/, and Debian has the others. One that is not there is
skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from msgspec import Struct

from tests.benchmarks import receiver
from tests.benchmarks.acks import paused_gateway
from tests.benchmarks.bench import Bench
from tests.benchmarks.deliveries import delivering_gateway
from tests.benchmarks.figures import Figure, Skipped
from tests.benchmarks.machine import PINNED, cpu_seconds, free_port, running
from tests.benchmarks.prepared_requests import alert, webhook
from tests.benchmarks.slices import Measure, Slice, in_turns, multiples, shares
from tests.support.forked_gateway import CODE
from tests.support.webhooks import PATH, SECRET

INSTALLED = CODE / "build" / "peers"
APPS = Path(__file__).parent / "peers"
_HOOK = "legitmark"
_ALERTMANAGER = """
route: {{ receiver: sink, group_by: ['...'], group_wait: 0s, group_interval: 1h, repeat_interval: 24h }}
receivers: [{{ name: sink, webhook_configs: [{{ url: "http://127.0.0.1:{port}/", send_resolved: false }}] }}]
"""


class Absent(Exception):
    """A program is not installed. The text says how to install it."""


class Server(Struct, frozen=True):
    """How to run a program that takes webhooks."""

    command: list[str]
    variables: Mapping[str, str]
    path: str
    """The path that it takes them at."""
    kept: Callable[[], int]
    """Counts the webhooks that it has kept."""


def fastapi(folder: Path, port: int) -> Server:
    python = INSTALLED / "python" / "bin" / "python"
    _check([python, "-c", "import fastapi, svix, uvicorn"])
    command = [str(python), "-m", "uvicorn", "--app-dir", str(APPS), "fastapi_app:app", "--port", str(port)]
    return _with_database([*command, "--log-level", "warning", "--no-access-log"], folder)


def express(folder: Path, port: int) -> Server:
    modules = {"NODE_PATH": str(INSTALLED / "node" / "node_modules")}
    _check(["node", "-e", "require('express'); require('svix'); new (require('better-sqlite3'))(':memory:')"], modules)
    return _with_database(["node", str(APPS / "express_app.js"), str(port)], folder, modules)


def debian_webhook(folder: Path, port: int) -> Server:
    hooks, kept = folder / "hooks.json", folder / "webhooks.jsonl"
    hook = {
        "id": _HOOK,
        "execute-command": str(APPS / "append.sh"),
        "command-working-directory": str(folder),
        "pass-arguments-to-command": [{"source": "entire-payload"}],
        "include-command-output-in-response": True,  # the answer waits for the command
    }
    hooks.write_text(json.dumps([hook]))
    kept.touch()
    command = [_program("webhook"), "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    return Server(command, {}, f"/hooks/{_HOOK}", lambda: len(kept.read_bytes().splitlines()))


RECEIVERS: Mapping[str, Callable[[Path, int], Server]] = {
    "FastAPI + sqlite3": fastapi,
    "Express + better-sqlite3": express,
    "Debian's webhook with exec": debian_webhook,
}


def receivers(bench: Bench) -> Iterator[Figure | Skipped]:
    """The gateway's durable acks as a multiple of the webhooks that receivers take which people write or install."""
    with ExitStack() as stack:
        gateway = stack.enter_context(paused_gateway(bench))
        subjects: dict[str, Measure] = {}
        for name, prepare in RECEIVERS.items():
            port, folder = free_port(), bench.folder()
            try:
                server = prepare(folder, port)
            except Absent as error:
                yield Skipped(f"durable ack / {name}", str(error))
                continue
            pid = stack.enter_context(running([*PINNED, *server.command], port, variables=server.variables))
            subjects[name] = partial(_kept, bench, server, pid, port)
        turns = in_turns(partial(bench.acks, gateway), subjects, bench.size.runs)
    for name, found in turns.items():
        yield multiples(f"durable ack / {name}", found)


def alertmanager(bench: Bench) -> Iterator[Figure | Skipped]:
    """Notifications a second from the first request to the arrival of the last notification, each of one event."""
    name, port, folder = "notifications / Alertmanager, 1 sink", free_port(), bench.folder()
    try:
        program = _program("prometheus-alertmanager")
    except Absent as error:
        yield Skipped(name, str(error))
        return
    with ExitStack() as stack:
        gateway, received_at = stack.enter_context(delivering_gateway(bench, 1))
        (folder / "alertmanager.yml").write_text(_ALERTMANAGER.format(port=received_at))
        command = [*PINNED, program, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error"]
        pid = stack.enter_context(running(command, port))
        other = partial(_notified, bench, pid, port, alert, received_at)
        ours = partial(_notified, bench, gateway.pid, gateway.port, webhook, received_at)
        turns = in_turns(other, {"gateway": ours}, bench.size.runs)
    yield shares(name, turns["gateway"])


def _notified(bench: Bench, pid: int, port: int, make: Callable[[], bytes], received_at: int) -> Slice:
    events = bench.size.events
    received, cpu = receiver.tally_of(received_at).received, cpu_seconds(pid)
    begun = bench.send(port, events, make).begun
    last = bench.await_received(received_at, received + events).last
    return Slice(events, last - begun, cpu_seconds(pid) - cpu)


def _kept(bench: Bench, server: Server, pid: int, port: int) -> Slice:
    before = server.kept()
    measured = bench.load(pid, port, path=server.path)
    if server.kept() - before < measured.events:
        raise RuntimeError(f"{server.command[0]} answered more webhooks than it kept")
    return measured


def _with_database(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> Server:
    database = folder / "peer.db"
    given = {"PEER_DATABASE": str(database), "PEER_SECRET": SECRET, **(variables or {})}
    return Server(command, given, PATH, partial(_rows, database))


def _rows(database: Path) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


def _check(command: list[str | Path], variables: Mapping[str, str] | None = None) -> None:
    """Raise Absent unless a command succeeds."""
    try:
        done = subprocess.run(command, env={**os.environ, **(variables or {})}, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Absent(f"{command[0]} is not installed; run make bench-peers") from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
        raise Absent(f"{said[0] if said else f'{command[0]} fails'}; run make bench-peers")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Absent(f"{name} is not installed; on Debian: apt install {name}")
    return found
