"""`gateway serve`: runs the gateway in this process."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import TYPE_CHECKING

from gateway.cli.errors import exit_code, explained
from gateway.cli.options import ConfigOption, configuration
from gateway.cli.output import printable
from gateway.cli.streams import Lines
from gateway.core.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Config
    from gateway.host.environment import Environment
    from gateway.host.line_writer import LineWriter
    from gateway.observability.logs import Log


def serve(*, config: ConfigOption = None) -> int:
    """Receive webhooks and deliver them, until SIGTERM or Ctrl-C.

    The first signal finishes what is in flight, at most for [server] drain; the second cuts it. Nothing is lost either way.

    Example: gateway serve --config gateway.toml
    """
    from gateway.host import descriptors
    from gateway.host.environment import Environment
    from gateway.host.line_writer import LineWriter
    from gateway.host.signals import end_on_bus_error, ignore_reload
    from gateway.observability.logs import is_journal, set_up_logging

    ignore_reload()
    environment = Environment.of_process()
    stream = environment.get("JOURNAL_STREAM")
    writer = LineWriter(sys.stderr)
    log = set_up_logging(writer, stream)
    journal = log if is_journal(sys.stderr, stream) else None
    try:
        settings = configuration(config, secrets=True, warn=journal is not None, journal=journal)
        if journal is None:
            for problem in settings.warnings:  # through the writer: stderr may be a pipe that nobody reads
                writer.put("\n".join(explained(problem)))
        limit = descriptors.raise_limit()
        if limit < descriptors.NEEDED:
            do = "raise the hard limit: LimitNOFILE= of a unit, --ulimit nofile= of a container, ulimit -Hn of a shell"
            log.warning("gateway.few_descriptors", limit=limit, needed=descriptors.NEEDED, do=do)
        end_on_bus_error(_of_cut_file(settings.database, in_journal=journal is not None), StoreError.exit_code)
        _run(settings, log, environment, writer)
    except Exception as error:
        writer.flush()
        if journal is None:
            sys.stderr = Lines(writer.put)  # through the writer, too: a blocked stderr must not keep the process alive
            raise
        return exit_code(error, journal)
    return 0


def _run(config: Config, log: Log, environment: Environment, writer: LineWriter) -> None:
    from gateway.app.lifecycle import Gateway
    from gateway.host.clock import Clock

    async def run() -> None:
        made = Gateway(
            config,
            clock=Clock(),
            log=log,
            environment=environment,
            lines_dropped=lambda: writer.dropped,
            built=lambda parts: _spare_the_collector(),
        )
        await made.run(last=True)

    _spare_the_collector()
    gc.set_threshold(10_000, 20, 20)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())


def _spare_the_collector() -> None:
    """Exclude all present objects from garbage collection, since they live as long as the process.

    Visiting them in every round would stop the loop for tens of milliseconds: the lanes and metrics of 200 sinks alone are some
    100,000 objects.
    """
    gc.collect()
    gc.freeze()


def _of_cut_file(database: Path, *, in_journal: bool) -> str:
    """Return the last line of a gateway whose write-ahead log index was cut: SQLite has that file mapped into memory."""
    said = (
        f"{database}-shm was cut by another process, or the disk can't be read any more (SIGBUS): the gateway stops, and"
        " acknowledges nothing more. Stop the gateway before you write to or restore one of its files; then start it again"
    )
    if in_journal:
        return "<2>" + json.dumps(
            {"error": said, "exit_code": StoreError.exit_code, "event": "gateway.failed", "level": "critical"}
        )
    return f"gateway: error: {printable(said)}"


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop if it is installed (the extra `speed`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
