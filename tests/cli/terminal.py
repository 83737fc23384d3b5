"""Runs commands at a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cli.running import TIMEOUT, command, environment

GREEN = "\x1b[1;32m"
RED = "\x1b[1;31m"


def shown(*arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its end, and return everything that its terminal was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment({"TERM": "xterm-256color", **(variables or {})}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    seen = b""
    try:
        while select.select([ours], [], [], TIMEOUT)[0]:
            seen += os.read(ours, 65536)  # Linux answers EIO once the other side is closed
        process.kill()
    except OSError:
        pass
    finally:
        os.close(ours)
        process.wait(TIMEOUT)
    return seen.decode()
