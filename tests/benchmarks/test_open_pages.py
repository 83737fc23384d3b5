"""The pages that the benchmark keeps open are fetched again at the pace of the script of the pages."""

from __future__ import annotations

import re

from tests.benchmarks.open_pages import BUSY_TIMES, FEWEST_PAUSE_SECONDS
from tests.service.checkout import ROOT


def test_the_pace_is_that_of_the_script() -> None:
    script = (ROOT / "gateway/web/pages/assets/page.js").read_text(encoding="utf-8")
    assert re.findall(r"const FEWEST = (\d+);", script) == [f"{FEWEST_PAUSE_SECONDS * 1000:g}"]
    assert re.findall(r"Math\.max\(FEWEST, (\d+) \*", script) == [str(BUSY_TIMES)]
