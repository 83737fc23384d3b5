"""Runs commands at a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cli.running import TIMEOUT, Result, command, environment

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


def at_a_terminal(*arguments: str | Path, cwd: Path, typed: str) -> tuple[Result, str]:
    """Run a command whose stdin and stderr are a terminal, and answer its question; and what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment({"TERM": "xterm-256color"}),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    seen, asked = b"", False
    deadline = time.monotonic() + TIMEOUT
    try:
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            seen += os.read(ours, 65536)  # Linux answers EIO once the other side is closed
            if b"[y/N]" in seen and not asked:
                asked = True
                os.write(ours, typed.encode())
    except OSError:
        pass
    finally:
        os.close(ours)
        if time.monotonic() >= deadline:
            process.kill()
    out, _ = process.communicate(timeout=TIMEOUT)
    return Result(process.returncode, out.decode(), ""), seen.decode()
