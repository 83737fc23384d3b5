"""Fixtures for every test. Nothing here touches any address but loopback."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes import FakeClock

pytest_plugins = ["tests.leaks.plugin"]
PAYLOADS = Path(__file__).parent / "payloads"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
"""Of the published test vector of Standard Webhooks; it protects nothing."""

# A script that runs the tests in the background has these ignored, and so would every process that they start.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# How long an example takes says more of the host than of the code; what has to be fast has a test of its own.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=sorted(path.name for path in PAYLOADS.glob("*.json")))
def payload(request: pytest.FixtureRequest) -> bytes:
    """Each sample body that Legitmark publishes, in turn."""
    return (PAYLOADS / str(request.param)).read_bytes()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports that nobody listened on a moment ago."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port
