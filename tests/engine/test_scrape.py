"""A scrape of hundreds of sinks does not hold up the rest of the gateway."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.web.admin.scrape import scraped
from tests.support.busy_metrics import busy


@pytest.mark.speed
async def test_the_loop_goes_on_between_the_pieces_of_a_scrape() -> None:
    metrics = busy()

    began = time.perf_counter()
    whole = metrics.exposition()
    at_once = time.perf_counter() - began
    scrape = asyncio.ensure_future(scraped(metrics))
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
