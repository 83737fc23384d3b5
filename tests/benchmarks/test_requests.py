"""The benchmark of a large store runs, and asks every question: a small store, whose figures are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.service.checkout import ROOT


def test_every_question_is_asked_of_a_real_gateway_and_a_database_is_upgraded(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    sizes = {"--steps": 500, "--often": 1, "--pages": 2, "--burst": 100, "--upgraded": 2000}
    command = [sys.executable, "-m", "tests.benchmarks.requests.run", "--folder", str(tmp_path / "large"), "--json", str(told)]
    command += [str(part) for pair in sizes.items() for part in pair]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == "" and done.returncode in (0, 1), done.stdout
    document = json.loads(told.read_bytes())
    assert (document["messages"], document["missed"] == []) == (5000, done.returncode == 0)
    asked = [question["said"] for question in document["questions"]]
    assert len(asked) == len(set(asked)) > 80
    assert {question.rpartition(" ")[2] for question in asked} == {"[quiet]", "[ingest]"}
    assert all(question["number"] > 0 for question in document["questions"])
    figures = {figure["name"]: figure["value"] for figure in document["figures"]}
    assert len(figures) == 13 and all(value > 0 for value in figures.values())
