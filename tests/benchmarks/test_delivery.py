"""The benchmark of deliveries runs, and measures claimed and fresh ones: a short run, whose figures are not judged."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.service.checkout import ROOT


def test_both_a_backlog_and_fresh_deliveries_are_measured() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.delivery", "--seconds", "0.01", "--sinks", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("backlog", "fresh"):
        assert re.search(
            rf"^{part} +[\d,]+ deliveries/s on the clock; +[\d.]+ microseconds of CPU each", done.stdout, re.MULTILINE
        )
