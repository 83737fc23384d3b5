"""Runs commands as people do: each in a process of its own, which is ended if it takes too long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.support import forked_gateway
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
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with forked_gateway.start(command(*arguments), cwd=cwd, env=environment(variables), **pipes) as process:
        try:
            out, err = process.communicate(stdin, TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Result(process.returncode, out.decode(), err.decode())


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gateway", *map(str, arguments)]
