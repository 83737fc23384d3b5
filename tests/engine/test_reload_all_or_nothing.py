"""A reload takes effect in every part at the same instant, or in none (promise 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from gateway.app.reload import Follower, Part, Reloads
from gateway.app.running import Running
from gateway.config import Config, load
from gateway.core.errors import ConfigError, SinkSetupError
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from tests.engine.bench import Bench

BEFORE = '[sources.legitmark]\nverify = "none"\n[store]\nretention = "80d"\n'
AFTER = BEFORE.replace("80d", "70d")


class Shop:
    """The reloads of one file, with parts that tests choose."""

    def __init__(self, bench: Bench, folder: Path, parts: list[Part]) -> None:
        environment = Environment({})
        self.file = folder / "gateway.toml"
        self.file.write_text(BEFORE)
        self.running = Running(load(self.file, environment), bench.clock.now())
        self.reloads = Reloads(
            self.running,
            parts=parts,
            asked=asyncio.Event(),
            counts=bench.store.counts,
            environment=environment,
            systemd=Systemd(environment, bench.clock),
            audit=bench.audit,
            metrics=bench.metrics,
            clock=bench.clock,
            log=structlog.wrap_logger(bench.log, processors=[]),
        )

    async def reload(self, text: str) -> None:
        self.file.write_text(text)
        await self.reloads.reload("somebody")


class Slow:
    """A part that takes several turns of the loop to prepare and to tidy up, and records each call."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.refuses = False

    async def prepare(self, config: Config) -> Callable[[], None]:
        await asyncio.sleep(0)
        self.noted.append("prepare")
        if self.refuses:
            raise SinkSetupError("the sink can't be opened")
        return lambda: self.noted.append("swap")

    async def tidy(self) -> None:
        await asyncio.sleep(0)
        self.noted.append("tidy")


async def test_a_part_that_refuses_leaves_every_other_part_as_it_was(bench: Bench, tmp_path: Path) -> None:
    used, refusing = list[float](), Slow()
    refusing.refuses = True
    shop = Shop(bench, tmp_path, [Follower(lambda config: (config.store.retention,), used.append), refusing])
    before = shop.running.config
    with pytest.raises(SinkSetupError):
        await shop.reload(AFTER)
    assert (used, refusing.noted) == ([], ["prepare"])
    assert shop.running.config is before
    refused = shop.running.state().refused
    assert refused is not None and (refused.actor, refused.detail) == ("somebody", "the sink can't be opened")

    refusing.refuses = False
    await shop.reload(AFTER)
    assert used == [70 * 86400.0] and refusing.noted == ["prepare", "prepare", "swap", "tidy"]
    assert shop.running.state().refused is None


async def test_the_status_after_a_refused_reload_shows_an_error_before_any_warning(bench: Bench, tmp_path: Path) -> None:
    shop = Shop(bench, tmp_path, [])
    warned = '[sinks.archive]\ntype = "jsonl"\npath = "a.jsonl"\nretry = ["0s"]\nbreaker = { failures = 3 }\n'
    with pytest.raises(ConfigError) as refused:
        await shop.reload(BEFORE + warned + '[sinks.erp]\ntype = "http"\non_stale = "annotate"\nurl = "erp"\n')
    assert [problem.level for problem in refused.value.problems] == ["warning", "warning", "error"]
    kept = shop.running.state().refused
    assert kept is not None and "[sinks.erp] url" in kept.detail and kept.detail.endswith("(and 2 more)")


async def test_all_parts_swap_in_one_turn_of_the_loop_and_tidy_up_after_it(bench: Bench, tmp_path: Path) -> None:
    turns = 0
    swapped = list[int]()

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def swap(retention: float) -> None:
        swapped.append(turns)

    first, second = Slow(), Slow()
    last = Follower(lambda config: (config.store.retention,), swap)
    shop = Shop(bench, tmp_path, [Follower(lambda config: (config.store.retention,), swap), first, second, last])
    counting = asyncio.ensure_future(count())
    await shop.reload(AFTER)
    counting.cancel()
    assert len(swapped) == 2 and len(set(swapped)) == 1
    assert first.noted == second.noted == ["prepare", "swap", "tidy"]


async def test_a_dry_run_prepares_nothing(bench: Bench, tmp_path: Path) -> None:
    part = Slow()
    shop = Shop(bench, tmp_path, [part])
    shop.file.write_text(AFTER)
    found = await shop.reloads.reload("somebody", dry_run=True)
    assert [change.place for change in found.changes] == ["[store] retention"]
    assert part.noted == [] and shop.running.config.store.retention == 80 * 86400.0
