"""`gateway db` on a gateway and on its files."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from tests.cli.running import Result, environment
from tests.cli.running import command as command_line
from tests.cli.running import gateway as command
from tests.support import forked_gateway
from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event, signed

SINK = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'
ARCHIVED = SINK + route("archive")
"""A configuration whose only sink is a file."""


def admin(running: Running) -> str:
    """Return the admin address of a gateway, as `--admin` takes it."""
    host, port = running.addresses["admin"]  # type: ignore[misc]
    return f"{host}:{port}"


def db(running: Running, *arguments: str | Path, cwd: Path | None = None) -> Result:
    """Run `gateway db ...`, which asks this gateway."""
    return command("db", *arguments, "--admin", admin(running), cwd=cwd or running.folder)


def started(*arguments: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a command that a test may interrupt."""
    line = command_line(*arguments)
    return forked_gateway.start(line, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def post(running: Running, number: int) -> None:
    """Post that many different events, all accepted."""
    for answer in await asyncio.gather(*(running.post(body, signed(body)) for body in (event() for _ in range(number)))):
        assert answer.status == 200


async def is_copying(file: Path) -> None:
    """Wait until a backup into this file has copied a megabyte."""
    await until(lambda: any(each.stat().st_size > 1_000_000 for each in unfinished(file.parent)))


def unfinished(folder: Path) -> list[Path]:
    """Return the partial files of backups in a folder."""
    return list(folder.glob(".legitmark-gateway-*.partial"))


def names(folder: Path) -> list[str]:
    """Return the sorted names in a folder."""
    return sorted(each.name for each in folder.iterdir())
