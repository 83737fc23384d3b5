"""Fixtures that every test may use. They touch no address but loopback."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.fakes import FakeClock
from tests.support.webhooks import PAYLOADS

pytest_plugins = [
    "tests.leaks.plugin",
    "tests.support.grouping",
    "tests.support.postgres_server",
    "tests.support.small_disk",
    "tests.support.tracing",
]
# A script that runs the tests in the background ignores these signals, and every process that a test starts would inherit that.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

WORKERS_PER_PROCESSOR, MOST_WORKERS = 3, 12
"""The workers of `pytest -n auto`: most tests of a real gateway wait more than they compute."""
LONGEST_FIRST = (
    "tests/browser",
    *("tests/process/test_chaos", "tests/process/test_re", "tests/process/test_hung", "tests/process", "tests/service"),
    *("tests/cli", "tests/sinks", "tests/store", "tests/engine"),
)
"""The beginnings of paths in the order in which files are given to workers; all other files come last.

A worker that began a long file last would keep the others waiting.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return min(WORKERS_PER_PROCESSOR * len(os.sched_getaffinity(0)), MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((at for at, path in enumerate(LONGEST_FIRST) if item.nodeid.startswith(path)), len(LONGEST_FIRST))

    items.sort(key=place)


# The time that an example takes depends on the machine more than on the code. Tests of speed measure it themselves.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=sorted(path.name for path in PAYLOADS.glob("*.json")))
def payload(request: pytest.FixtureRequest) -> bytes:
    """Each sample body that Legitmark publishes, one after the other."""
    return (PAYLOADS / str(request.param)).read_bytes()


@pytest.fixture(scope="session")
def free_port() -> Iterator[Callable[[], int]]:
    """A function that returns a port on which nobody listens, and that is kept for the caller until the end of the run.

    A socket that is bound and does not listen keeps it: the kernel hands the port to nobody else, refuses connections to it, and
    lets a server have it that sets SO_REUSEADDR, as all of them do (socket(7)).
    """
    with ExitStack() as kept:

        def port() -> int:
            keeper = kept.enter_context(socket.socket())
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind(("127.0.0.1", 0))
            return int(keeper.getsockname()[1])

        yield port
