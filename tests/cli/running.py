"""Runs commands as people do: each in a process of its own, which is ended if it takes too long."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.support.webhooks import SECRET

TIMEOUT = 60.0
"""Seconds after which a command counts as hung."""

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]

[sources.legitmark]
secrets = [{{ env = "LEGITMARK_SECRET" }}]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[sinks.fraud_desk]
type = "jsonl"
path = "fraud.jsonl"

[[routes]]
name = "counterfeits"
match = {{ milestone = "counterfeit" }}
sinks = ["fraud_desk", "archive"]

[[routes]]
name = "bags"
match = {{ reference_id = {{ prefix = "BAG-" }} }}
sinks = ["archive"]

[[routes]]
name = "cancellations, on purpose"
match = {{ milestone = ["cancelled", "invalidated"] }}
sinks = []
"""


class Result(Struct, frozen=True):
    status: int
    out: str
    err: str

    def document(self) -> Any:
        """Return the only JSON document on stdout."""
        return json.loads(self.out)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of this process with the secret, and without variables that would change the output."""
    kept = {"PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR"}
    return {
        **{name: value for name, value in os.environ.items() if name in kept},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
        "LEGITMARK_SECRET": SECRET,
        **(more or {}),
    }


def gateway(
    *arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> Result:
    """Run a command to its end, and return its result."""
    done = subprocess.run(
        command(*arguments), cwd=cwd, input=stdin, capture_output=True, timeout=TIMEOUT, env=environment(variables), check=False
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


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


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gateway", *map(str, arguments)]
