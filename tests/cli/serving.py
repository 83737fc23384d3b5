"""`gateway serve` in a process of its own, found by the addresses that it publishes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.host.address_file import Addresses, read
from gateway.host.environment import Environment
from tests.cli.running import command, environment
from tests.support import forked_gateway

SECONDS = 60.0
"""Seconds until a wait counts as failed: far longer than any takes on an idle machine."""


def wait_until(what: Callable[[], bool], said: str) -> None:
    """Return as soon as the condition is true; fail with the text after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


@contextmanager
def serving(folder: Path) -> Iterator[Addresses]:
    """Serve the configuration of a folder, and yield the addresses of the gateway."""
    process = forked_gateway.start(command("serve"), cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: read(folder / "gateway.db", Environment({})) is not None, "the gateway names no address")
        addresses = read(folder / "gateway.db", Environment({}))
        assert addresses is not None
        yield addresses
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0
