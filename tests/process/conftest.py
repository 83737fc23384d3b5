"""Fixtures for the tests of a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver) -> Iterator[Running]:
    """A gateway with one HTTP sink, `erp`, that has logged no traceback and no bug when the test ends.

    It would drain for two minutes, so a stop that ends within the patience of a test did not wait for that.
    """
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n' + http_sink(receiver, more='timeout = "300s"') + route("erp")
    with Running(tmp_path, toml) as running:
        yield running
        assert "Traceback" not in running.stderr() and ".bug" not in running.stderr()
