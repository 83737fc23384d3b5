"""A folder with a good `gateway.toml`, whose gateway does not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import CONFIG


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    (tmp_path / "gateway.toml").write_text(CONFIG.format(port=free_port()))
    return tmp_path
