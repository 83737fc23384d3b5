"""The tasks of a gateway, from its start to its stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from gateway.app.lifecycle import Gateway
from gateway.app.parts import Parts
from gateway.config import load
from gateway.host.clock import Clock
from gateway.host.environment import Environment

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
[admin]
listen = ["127.0.0.1:0"]
[sources.legitmark]
verify = "none"
[sinks.erp]
type = "jsonl"
path = "erp.jsonl"
[sinks.crm]
type = "jsonl"
path = "crm.jsonl"
"""
SERVING = {
    *("store", "audit", "janitor", "watchdog", "reloads", "reverify", "sources", "sealing", "lookout", "reconciler", "gaps"),
    *("lanes", "lane:erp", "lane:crm", "onlookers", "act:1", "act:2", "act:3", "act:4"),
}


async def test_every_task_of_a_gateway_has_a_name_and_ends_with_it(tmp_path: Path) -> None:
    file, environment = tmp_path / "gateway.toml", Environment({})
    file.write_text(CONFIG)
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    built = list[Parts]()
    gateway = Gateway(load(file, environment), clock=Clock(), log=log, environment=environment, built=built.append)
    before = asyncio.all_tasks()
    running = asyncio.create_task(gateway.run(), name="gateway")
    async with asyncio.timeout(30):
        await gateway.serving.wait()
        await asyncio.sleep(0)  # the task that kept systemd waiting ends by itself
        assert {task.get_name() for task in asyncio.all_tasks() - before} - {"gateway", "starting"} == SERVING
        (parts,) = built
        assert parts.readiness.reasons() == [] and parts.readiness.status({}).startswith("ready: webhooks on 127.0.0.1:")
        gateway.stop()
        assert parts.readiness.reasons() == ["starting or stopping"] and parts.readiness.status({}).startswith("stopping: ")
        await running
    assert asyncio.all_tasks() == before
