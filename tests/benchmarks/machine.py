"""This machine as the benchmark uses it: one core for the server that is measured, the other one for all that loads it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.forked_gateway import CODE
from tests.support.waiting import PATIENCE

SERVER_CORE, LOAD_CORE = 0, 1
PINNED = ("taskset", "-c", str(SERVER_CORE))
"""The words in front of a server's command. `taskset` becomes the command, so the process keeps its id."""
NEEDED = ("wrk", "taskset")


def missing() -> str:
    """Return what this machine lacks for a run, or an empty text."""
    lacking = [program for program in NEEDED if shutil.which(program) is None]
    if lacking:
        return f"install {' and '.join(lacking)} (on Debian: apt install wrk util-linux)"
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        return f"cores {SERVER_CORE} and {LOAD_CORE} are needed"
    return ""


def move_to_load_core() -> None:
    """Move this process, and all that it starts without `PINNED`, to the core of the load."""
    os.sched_setaffinity(0, {LOAD_CORE})


@contextmanager
def running(command: Sequence[str], port: int, *, variables: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server until the end of the block, from when it listens on. Yields its process id."""
    environment = {**os.environ, **(variables or {})}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        await_listening(port, process)
        yield process.pid
    finally:
        process.kill()
        process.wait(PATIENCE)


def await_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process accepts connections on a port of 127.0.0.1. Raises RuntimeError if it ends instead."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its ended children have used, in user and system mode together."""
    return cpu_of_stat(Path(f"/proc/{pid}/stat").read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))


def cpu_of_stat(text: str, ticks_per_second: int) -> float:
    """Return the seconds in the text of /proc/PID/stat: utime, stime, cutime and cstime (proc_pid_stat(5))."""
    fields = text.rpartition(")")[2].split()  # the name of the program may contain spaces and parentheses
    return sum(int(field) for field in fields[11:15]) / ticks_per_second


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Return how many megabytes of memory a process has now, or had at most."""
    return memory_of_status(Path(f"/proc/{pid}/status").read_text(encoding="ascii"), "VmHWM" if peak else "VmRSS")


def memory_of_status(text: str, name: str) -> float:
    """Return a line of /proc/PID/status in megabytes of 1,000,000 bytes; the file has kibibytes."""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no {name} in the status of the process")


def facts() -> dict[str, Any]:
    """Return what somebody has to know of this machine to judge the figures."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in ("aiohttp", "aiosqlite", "msgspec")},
        "uvloop": has_uvloop(),
    }


def commit() -> str:
    """Return the commit of this checkout, or an empty text if it is none."""
    said = subprocess.run(
        ["git", "-C", str(CODE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


def has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True
