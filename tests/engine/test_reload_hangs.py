"""A reload whose files cannot be read to their end is refused after a while, and delays no other reload."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from gateway.app.reload import Follower, Reloads
from gateway.app.running import Running
from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from tests.engine.bench import Bench
from tests.support.leased_file import leased
from tests.support.service_manager import NotifySocket

GOOD = '[sources.legitmark]\nverify = "none"\n'
HANGS = '[sources.legitmark]\nsecrets = [{ file = "slow" }]\n'


async def test_a_reload_that_hangs_on_a_file_is_refused_after_a_while_and_the_next_one_works(
    bench: Bench, tmp_path: Path
) -> None:
    file, used = tmp_path / "gateway.toml", list[float]()
    file.write_text(GOOD)
    (tmp_path / "slow").write_text("token-7Qs3xK2")
    (tmp_path / "slow").chmod(0o600)

    with NotifySocket(str(tmp_path / "notify")) as heard:
        environment = Environment({"NOTIFY_SOCKET": heard.address})
        running = Running(load(file, environment), bench.clock.now())
        reloads = Reloads(
            running,
            parts=[Follower(lambda config: (config.store.retention,), used.append)],
            asked=asyncio.Event(),
            counts=bench.store.counts,
            environment=environment,
            systemd=Systemd(environment, bench.clock),
            audit=bench.audit,
            metrics=bench.metrics,
            clock=bench.clock,
            log=structlog.wrap_logger(bench.log, processors=[]),
        )
        reloads.read_seconds = 0.05
        file.write_text(HANGS)
        with leased(tmp_path / "slow"), pytest.raises(ConfigError) as refused:
            await reloads.reload("somebody")
        assert "was not read within 0.05 s" in str(refused.value.problems[0])
        assert await bench.events("config.refused") == ["config.refused"]
        file.write_text(f"[store]\nretention = '80d'\n{GOOD}")
        reloads.read_seconds = 10.0
        await reloads.reload("somebody")
        assert used == [80 * 86400.0]
        told = [next(iter(one)) for one in heard.listen()]
        assert told == ["RELOADING", "READY"] * 2, "systemd is not left waiting"

        file.write_text(f"# The same in other words\n[store]\nretention = '1920h'\n{GOOD}")
        await reloads.reload("somebody")
        assert len(used) == 1, "what changes nothing is told of, and touches nothing"
        assert await bench.events("config.reloaded") == ["config.reloaded"] * 2
        assert running.state().sha256 == load(file, environment).sha256
