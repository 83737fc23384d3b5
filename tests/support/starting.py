"""Starting a gateway that is expected to refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.forked_gateway import CODE
from tests.support.waiting import PATIENCE


def start_another(config: Path, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `gateway serve` with a configuration until it ends by itself."""
    environment = {**os.environ, **secrets, "PYTHONPATH": str(CODE)}
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
