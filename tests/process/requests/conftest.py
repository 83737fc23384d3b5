"""One gateway for all tests of this folder. It must survive every request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.process.requests.refusals import CONFIG
from tests.support.gateway_process import Running, no_traceback
from tests.support.webhooks import event


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("requests"), CONFIG) as running:
        yield running
        answer = asyncio.run(running.post(event()))
        assert answer.outcome == (200, "accepted")


@pytest.fixture(autouse=True)
def unharmed(running: Running) -> Iterator[None]:
    with no_traceback(running):
        yield
