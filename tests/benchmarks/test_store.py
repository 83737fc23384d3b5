"""The benchmark of the store measures what it says."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.store import SIZES, measured


async def test_every_cost_of_the_store_is_measured(tmp_path: Path) -> None:
    found = await measured(tmp_path, 0.01)
    jobs = {f"{kind} {size}" for kind in ("accept", "settle") for size in SIZES}
    whole = {f"turn of {number}{what}" for number in (1, 64) for what in ("", ", CPU")}
    assert found.keys() == {"commit 1", "plain commit"} | jobs | whole
    assert all(microseconds > 0 for microseconds in found.values())
    assert found["settle 64"] < found["settle 1"], "what a commit costs is shared by its settlements"
