"""Reloading a running gateway, and looking at what that changed."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.exchange import Answer
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE
from tests.support.webhooks import event


async def post_reload(running: Running, toml: str | None = None, *, query: str = "") -> Answer:
    """Write a new configuration, if one is given, and ask for a reload through the admin API."""
    if toml is not None:
        running.write_config(toml)
    return await running.admin(f"/-/reload{query}", method="POST")


async def reloaded(running: Running, toml: str | None = None) -> dict[str, Any]:
    """Reload successfully, and return the answer."""
    answer = await post_reload(running, toml)
    assert answer.status == 200, answer.body
    assert answer.json()["status"] == "reloaded"
    return answer.json()


async def metric(running: Running, name: str) -> float:
    """The value of a metric that has no labels."""
    text = (await running.admin("/metrics")).body.decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


async def sink(running: Running, name: str) -> dict[str, Any]:
    """The entry of a sink in `/api/sinks`."""
    found: list[dict[str, Any]] = (await running.admin("/api/sinks")).json()["sinks"]
    return next(one for one in found if one["sink"] == name)


async def accepted(running: Running, body: bytes | None = None) -> bytes:
    """Post an event, which must be accepted, and return its body."""
    body = body or event()
    assert (await running.post(body)).outcome == (200, "accepted")
    return body


async def until_answered(running: Running, status: int) -> None:
    """Post events until one gets this status."""
    async with asyncio.timeout(PATIENCE):
        while (await running.post(event())).status != status:
            pass


async def run(running: Running, *arguments: str) -> Result:
    """Run a command of the gateway against its admin listener."""
    host, port = running.addresses["admin"]  # type: ignore[misc]
    return await asyncio.to_thread(command, *arguments, "--admin", f"{host}:{port}", cwd=running.folder)


def ask_by_signal(running: Running) -> None:
    """Ask for a reload as `systemctl reload` does."""
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
