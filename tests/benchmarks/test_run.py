"""The benchmark runs and measures what it says: short runs, whose figures are not judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.machine import missing
from tests.benchmarks.run import PARTS
from tests.service.checkout import ROOT


@pytest.mark.skipif(missing() != "", reason=missing() or "nothing is missing")
def test_the_parts_that_were_asked_for_are_measured_and_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "made" / "bench.json"
    command = [sys.executable, "-m", "tests.benchmarks.run", "--size", "tiny", "--only", "end-to-end,paced,duplicates"]
    done = subprocess.run([*command, "--json", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: below a bound, as a busy machine may be
    assert done.stderr == ""
    told = json.loads(file.read_bytes())
    assert told["failed"] == [] and told["skipped"] == []
    assert [figure["name"] for figure in told["figures"]] == [
        "end to end / bare, 3 signed HTTP sinks",
        "end to end / bare, 1 signed HTTP sink",
        "sent to delivered at 1,000 events/s, 3 sinks, p50",
        "sent to delivered at 1,000 events/s, 3 sinks, p99",
        "50 % duplicates / unique",
    ]
    assert all(figure["samples"]["median"] > 0 and figure["cpu_us"]["median"] > 0 for figure in told["figures"])
    assert all(f"| {figure['name']} " in done.stdout for figure in told["figures"])


def test_a_part_that_does_not_exist_is_a_wrong_usage() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.run", "--only", "acks,nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "no such part: nothing" in done.stderr


def test_the_readme_names_every_part_and_every_target() -> None:
    text = (ROOT / "tests/benchmarks/README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == list(PARTS)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in re.findall(r"^make ([\w-]+)", text, re.MULTILINE))


@pytest.mark.skipif(missing() != "", reason=missing() or "nothing is missing")
def test_the_profile_shows_parts_that_take_a_share() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.cpu_by_part", "--events", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    tables = [part.splitlines() for part in done.stdout.split("\n\n")[1:] if part.strip()]
    assert len(tables) == 4
    for _, *rows in tables:
        shares = [float(row.split("%")[0]) for row in rows]
        assert sum(shares) == pytest.approx(100.0, abs=1.0)
    # So few events have few samples, and only the largest parts are sure to be among them.
    assert {"store", "sinks"} <= {row.split()[-1] for row in tables[0]}
