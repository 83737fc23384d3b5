"""`gateway serve`: the process itself."""

from __future__ import annotations

import asyncio
import gc

from gateway.cli.common import ConfigOption, configuration


def serve(*, config: ConfigOption = None) -> int:
    """Receive webhooks and deliver them, until SIGTERM or Ctrl-C.

    The first signal finishes what is in flight (at most [server] drain), the second cuts it; nothing is lost either way.
    """
    from gateway.app import Gateway
    from gateway.clock import Clock
    from gateway.core.values import Environment
    from gateway.telemetry import set_up_logging

    loaded = configuration(config, secrets=True)
    log = set_up_logging()

    async def run() -> None:
        await Gateway(loaded, clock=Clock(), log=log, environment=Environment.of_process()).run()

    # What was loaded until now lives as long as the process: the garbage collector need not look at it again and again,
    # which stopped the loop for tens of milliseconds at a time under load.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())
    return 0


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `speed`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
