"""The lanes of one configuration after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from gateway.config import Config, load
from gateway.core.errors import StoreError
from gateway.delivery.directory import Directory
from gateway.delivery.lanes import Lanes
from gateway.delivery.world import LaneWorld
from gateway.host.environment import Environment
from tests.engine.bench import Bench, TroubledStore, spin
from tests.fakes import own_events_for
from tests.support.waiting import PATIENCE

ERP = '[sinks.erp]\ntype = "jsonl"\npath = "erp.jsonl"\n'
CRM = '[sinks.crm]\ntype = "jsonl"\npath = "crm.jsonl"\n'


class FullStore(TroubledStore):
    full = False

    async def change(self, work: Any, told: Any = None) -> Any:
        if self.full:
            raise StoreError("the disk is full")
        return await super().change(work, told)


class LanesBench:
    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        log = structlog.wrap_logger(bench.log, processors=[])
        own_events = own_events_for(bench.store, bench.audit, bench.clock)
        world = LaneWorld(bench.store, bench.audit, own_events, bench.metrics, bench.clock, log)
        self.directory = Directory()
        self.lanes = Lanes(self.config(""), self.directory, world, bench.clock)

    def config(self, sinks: str) -> Config:
        file = self.folder / "gateway.toml"
        file.write_text(f'[sources.legitmark]\nverify = "none"\n{sinks}')
        return load(file, Environment({}))

    async def use(self, sinks: str) -> None:
        swap = await self.lanes.prepare(self.config(sinks))
        swap()
        await self.lanes.tidy()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the lanes in this block; at its end all of them have stopped."""
        task = asyncio.create_task(self.lanes.run())
        try:
            await spin()
            yield
        finally:
            self.lanes.stop()
            await asyncio.wait_for(task, PATIENCE)
