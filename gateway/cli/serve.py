"""`gateway serve`: the process itself."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING

from gateway.cli.common import ConfigOption, configuration, exit_code

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.core.values import Environment
    from gateway.telemetry import Log


def serve(*, config: ConfigOption = None) -> int:
    """Receive webhooks and deliver them, until SIGTERM or Ctrl-C.

    The first signal finishes what is in flight (at most [server] drain), the second cuts it; nothing is lost either way.
    """
    from gateway.core.values import Environment
    from gateway.signals import ignore_reload
    from gateway.telemetry import is_journal, set_up_logging

    ignore_reload()
    environment = Environment.of_process()
    stream = environment.get("JOURNAL_STREAM")
    log = set_up_logging(journal=stream)
    journal = log if is_journal(sys.stderr, stream) else None
    try:
        _run(configuration(config, secrets=True, journal=journal), log, environment)
    except Exception as error:
        if journal is None:
            raise
        return exit_code(error, journal)
    return 0


def _run(config: Config, log: Log, environment: Environment) -> None:
    from gateway.app import Gateway
    from gateway.clock import Clock

    async def run() -> None:
        await Gateway(config, clock=Clock(), log=log, environment=environment).run()

    # What was loaded until now lives as long as the process: the garbage collector need not look at it again and again,
    # which stopped the loop for tens of milliseconds at a time under load.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `speed`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
