"""The benchmark of durable acks runs, and measures what it says: a short run, whose figures are not judged."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.service.checkout import ROOT


@pytest.mark.skipif(shutil.which("wrk") is None or shutil.which("taskset") is None, reason="wrk or taskset is not installed")
def test_each_ack_is_a_new_message_with_three_deliveries() -> None:
    command = [sys.executable, str(ROOT / "tests/benchmarks/ack.py"), "--seconds", "1", "--rounds", "1", "--connections", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: below the floor, as a busy machine may be
    assert done.stderr == ""
    assert re.search(r"of a bare handler, sinks paused: 0\.\d\d", done.stdout)
    assert re.search(r"of a bare handler, sinks delivering: 0\.\d\d", done.stdout)
