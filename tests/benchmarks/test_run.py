"""The benchmark runs and measures what it says: short runs, whose figures are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.machine import missing
from tests.service.checkout import ROOT


@pytest.mark.skipif(missing() != "", reason=missing() or "nothing is missing")
@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("duplicates", ["50 % duplicates / unique"]),
        ("end-to-end", ["end to end / bare, 3 signed HTTP sinks", "end to end / bare, 1 signed HTTP sink"]),
        ("paced", [f"sent to delivered at 1,000 events/s, 3 sinks, {percentile}" for percentile in ("p50", "p99")]),
    ],
)
def test_a_part_is_measured_and_written_as_json(part: str, names: list[str], tmp_path: Path) -> None:
    file = tmp_path / "made" / "bench.json"
    command = [sys.executable, "-m", "tests.benchmarks.run", "--size", "tiny", "--only", part, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: below a bound, as a busy machine may be
    assert done.stderr == ""
    told = json.loads(file.read_bytes())
    assert told["failed"] == [] and [figure["name"] for figure in told["figures"]] == names
    assert all(f"| {name} " in done.stdout for name in names)
    assert all(figure["samples"]["median"] > 0 for figure in told["figures"])
    assert all(figure["cpu_us"]["median"] > 0 for figure in told["figures"])


def test_a_part_that_does_not_exist_is_a_wrong_usage() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.run", "--only", "acks,nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "no such part: nothing" in done.stderr
