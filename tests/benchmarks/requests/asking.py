"""One client of the admin API, and what a question costs the gateway: on the clock, and in processor time of all its threads."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.support.waiting import PATIENCE

_NANOSECONDS_PER_MS = 1e6


class Cost(Struct, frozen=True):
    """The cost of one question, in milliseconds."""

    clock: float
    cpu: float
    """Processor time that all threads of the gateway took meanwhile, whatever for."""


class Client:
    """Asks one question at a time, on one connection."""

    def __init__(self, address: tuple[str, int], pid: int) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
        self._pid = pid

    def close(self) -> None:
        self._connection.close()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], Cost]:
        """Return the answer to a GET, or with a body to a POST. Raises RuntimeError unless it is a 200."""
        cpu, begun = cpu_ms(self._pid), time.perf_counter()
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        said = answer.read()
        cost = Cost((time.perf_counter() - begun) * 1000, cpu_ms(self._pid) - cpu)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {said.decode()}")
        return json.loads(said), cost


def cpu_ms(pid: int) -> float:
    """Return the processor time of a process's threads, the first field of /proc/PID/task/TID/schedstat (proc(5))."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended
            continue
    return total / _NANOSECONDS_PER_MS
