"""A folder with a good `gateway.toml` and no gateway, a gateway that archives, and a large database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.backups import ARCHIVED
from tests.cli.running import CONFIG
from tests.store.kit import fill
from tests.support.gateway_process import Running, no_traceback

MANY = 30_000
"""Messages in the large database: copying it takes long enough to do something meanwhile."""


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    """A folder with a good configuration, whose gateway does not run."""
    (tmp_path / "gateway.toml").write_text(CONFIG.format(port=free_port()))
    return tmp_path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A gateway whose only sink is a file."""
    with Running(tmp_path, ARCHIVED) as running, no_traceback(running, alive=False):
        yield running


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large database, closed and without a gateway; copy it before use."""
    path = tmp_path_factory.mktemp("large") / "gateway.db"
    asyncio.run(fill(path, MANY, body=b"x" * 4000, sinks=("gone",)))
    return path
