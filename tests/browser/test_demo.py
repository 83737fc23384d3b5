"""A person who has read only the README finds out in the demo why the ERP did not hear about an item, and mends it."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import expect

from gateway.cli.demo.story import WATCH
from tests.browser.visiting import Visiting

_SECONDS = 90


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "gateway", "demo", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        yield process
    finally:
        process.terminate()
        await process.communicate()


async def line_with(process: Process, pattern: str) -> re.Match[str]:
    """Return where a pattern first fits in what the demo prints from here on."""
    assert process.stdout is not None
    async with asyncio.timeout(_SECONDS):
        async for line in process.stdout:
            if found := re.search(pattern, line.decode()):
                return found
    raise AssertionError(f"the demo ended, and printed nothing like {pattern!r}")


async def test_the_demo_leads_to_the_item_that_the_erp_did_not_hear_about_and_a_click_mends_it(
    tmp_path: Path, visiting: Visiting
) -> None:
    async with demo(tmp_path / "demo") as process:
        await line_with(process, r"\bdead +erp\b")
        origin = (await line_with(process, rf"did not hear about {WATCH}.* (http://\S+:\d+)/$"))[1]
        await line_with(process, "The gateway stays up")
        visit = await visiting.begin(origin)
        await visit.to("/")
        await expect(visit.page.get_by_role("main")).to_contain_text("1 delivery is dead")
        await visit.page.get_by_role("searchbox").fill(WATCH)
        await visit.page.get_by_role("button", name="Find").click()
        await expect(visit.page.get_by_role("main")).to_contain_text("OrderNotFound")
        await visit.page.get_by_role("link", name="Replay erp").click()
        await visit.page.get_by_role("button", name="Replay 1 delivery").click()
        await line_with(process, r"\bdelivered erp\b")
        await visit.to("/")
        await expect(visit.page.get_by_role("main")).to_contain_text("Nothing needs a person.")
        await visit.page.goto("about:blank")  # the page would tell that its gateway is gone
