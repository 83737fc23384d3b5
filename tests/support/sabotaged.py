"""A real gateway with a bug that a test puts into it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.gateway_process import Running


class Sabotaged(Running):
    """A gateway that is started by a script of the test, which replaces a function and then calls `gateway.cli.main`."""

    def __init__(self, folder: Path, toml: str, script: str) -> None:
        super().__init__(folder, toml)
        self._script = script

    def command(self) -> list[str]:
        return [sys.executable, "-c", self._script]
