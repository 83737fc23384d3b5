"""A scrape of hundreds of sinks goes beside everything else that the loop has to do."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from gateway.web.admin.listener import Admin
from tests.unit.test_exposition import busy


async def test_the_loop_goes_on_between_the_pieces_of_a_scrape() -> None:
    metrics = busy()

    async def measure() -> None:
        pass

    admin = SimpleNamespace(_metrics=metrics, _observer=SimpleNamespace(measure=measure))
    began = time.perf_counter()
    whole = metrics.exposition()
    at_once = time.perf_counter() - began
    scrape = asyncio.ensure_future(Admin._scrape(cast("Any", admin)))
    gaps, last = [], time.perf_counter()
    while not scrape.done():
        await asyncio.sleep(0)
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    body = scrape.result().body
    assert isinstance(body, bytes)
    assert len(body) > 0.9 * len(whole)
    assert len(gaps) > 50
    assert sorted(gaps)[len(gaps) // 2] < at_once / 20, "each piece is a small part of the whole, on a busy host too"
