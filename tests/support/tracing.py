"""System calls of a running gateway, watched or made to fail by strace."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway_process import Running


@pytest.fixture
def strace() -> str:
    """The path of strace. Skips the test if strace is missing or may not trace here."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("there is no strace")
    command = [path, "-f", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        pytest.skip(f"strace can't trace here: {tried.stderr.strip()}")
    return path


def trace(command: list[str]) -> subprocess.Popen[bytes]:
    """Start strace without a terminal and without output."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def traced(running: Running) -> bool:
    """True once strace is attached to every thread of the gateway."""
    assert running.process is not None
    tasks = Path(f"/proc/{running.process.pid}/task")
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks.iterdir())
