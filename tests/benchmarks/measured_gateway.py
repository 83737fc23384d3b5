"""The gateway under measurement: a real process on the core of the server, with the configuration that a figure asks for."""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.observability.metrics import PREFIX
from tests.benchmarks.machine import PINNED, cpu_seconds, resident_mb
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE
from tests.support.webhooks import SECRET

SINKS = ("one", "two", "three")
_SERVER = '[server]\nlisten = ["127.0.0.1:0"]\n'
_BEHIND_PROXY = 'trusted_proxies = ["127.0.0.1"]\n'
"""One sender may hold 128 connections. With more of them, the load counts as a trusted proxy, which has no such bound."""


def http_sinks(port: int, number: int = len(SINKS)) -> str:
    """Return the configuration of signed HTTP sinks, all at one receiver, and of the route to all of them."""
    tables = [
        f'[sinks.{name}]\ntype = "http"\nurl = "http://127.0.0.1:{port}/{name}"\nsecret = {{ env = "SINK" }}\n'
        for name in SINKS[:number]
    ]
    return "".join([*tables, _route(number)])


def jsonl_sinks(number: int = len(SINKS)) -> str:
    """Return the configuration of JSONL sinks, and of the route to all of them."""
    tables = [f'[sinks.{name}]\ntype = "jsonl"\npath = "{name}.jsonl"\n' for name in SINKS[:number]]
    return "".join([*tables, _route(number)])


def _route(number: int) -> str:
    return f'[[routes]]\nname = "everything"\nsinks = {json.dumps(SINKS[:number])}\n'


class MeasuredGateway(Running):
    """A gateway that is asked for its counts and its processor time."""

    def __init__(self, folder: Path, toml: str, *, module: str = "gateway", behind_proxy: bool = False) -> None:
        """`module` is what Python runs: `gateway`, or a module of this folder that runs it in a changed form."""
        folder.mkdir(parents=True, exist_ok=True)
        server = _SERVER + (_BEHIND_PROXY if behind_proxy else "")
        super().__init__(folder, server + toml, {"SINK": SECRET})
        self.program = [*PINNED, sys.executable, "-m", module]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        """The port for webhooks."""
        address = self.addresses["webhooks"]
        assert isinstance(address, tuple)
        return address[1]

    @property
    def admin_address(self) -> tuple[str, int]:
        address = self.addresses["admin"]
        assert isinstance(address, tuple)
        return address

    @property
    def cpu(self) -> float:
        """Seconds of processor time since its start."""
        return cpu_seconds(self.pid)

    @property
    def memory_mb(self) -> float:
        return resident_mb(self.pid)

    def pause(self, sinks: Sequence[str] = SINKS) -> None:
        for name in sinks:
            self._ask("POST", f"/api/sinks/{name}/pause")

    def resume(self, sinks: Sequence[str] = SINKS) -> None:
        for name in sinks:
            self._ask("POST", f"/api/sinks/{name}/resume")

    def metric(self, name: str, *labels: str) -> float:
        """Return the sum of the series of a metric that have these labels, written as `state="queued"`."""
        lines = self._ask("GET", "/metrics").decode().splitlines()
        wanted = [line for line in lines if line.startswith((f"{PREFIX}_{name} ", f"{PREFIX}_{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in wanted if all(label in line for label in labels))

    @property
    def accepted(self) -> int:
        return int(self.metric("messages_total", 'result="accepted"'))

    @property
    def delivered(self) -> int:
        return int(self.metric("deliveries_ended_total", 'state="delivered"'))

    def await_delivered(self, number: int) -> None:
        """Wait until so many deliveries are settled since the start; raises TimeoutError if that takes too long."""
        deadline = time.monotonic() + PATIENCE
        while self.delivered < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.delivered:,} of {number:,} deliveries are settled")
            time.sleep(0.01)

    def hold(self) -> None:
        """Stop the process outside of its turns, so that it uses no processor time, until `release`."""
        self._signal(signal.SIGSTOP)

    def release(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _ask(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(*self.admin_address, timeout=PATIENCE)
        try:
            body = json.dumps({"actor": "benchmark"}) if method == "POST" else None
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {said.decode()}")
            return said
        finally:
            connection.close()
