"""A page follows the gateway while somebody looks at it, and says when it does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page as Tab
from playwright.async_api import expect

from gateway.web.pages.catalogue import catalogue
from gateway.web.pages.page import Page
from gateway.web.pages.page_table import PAGES
from tests.browser.hostile import HOSTILE
from tests.browser.stories import SMALL, origin_of
from tests.browser.visiting import Look, Visit, Visiting
from tests.support.gateway_process import Running
from tests.support.webhooks import event

NOTHING = catalogue("en").text("overview.nothing_yet")
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Does what a browser does when its window is covered: a headless one has no window (Page Visibility, section 4)."""


@pytest_asyncio.fixture(loop_scope="session")
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    with Running(tmp_path, SMALL) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def anchored(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Running]:
    """A gateway that has the same address after each start."""
    with Running(tmp_path, f'{SMALL}\n[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n') as running:
        yield running


async def live(visiting: Visiting, running: Running, path: str) -> Visit:
    """A visit of a page, once it says that it is live."""
    visit = await visiting.begin(origin_of(running))
    await visit.to(path)
    await says(visit.page, "live")
    return visit


async def says(page: Tab, state: str) -> None:
    await expect(page.locator("#live")).to_have_attribute("data-state", state)


async def test_what_comes_is_shown_without_loading_the_page_again(running: Running, visiting: Visiting) -> None:
    visit = await live(visiting, running, "/")
    await expect(visit.page.locator("main")).to_contain_text(NOTHING)
    await visit.page.evaluate("document.body.dataset.mark = 'the same document'")
    await visit.page.keyboard.press("/")
    await visit.page.keyboard.type("half a wo")
    await running.post(event())
    await expect(visit.page.locator("main")).not_to_contain_text(NOTHING)
    await visit.page.keyboard.type("rd")
    assert await visit.page.locator("#q").input_value() == "half a word"
    assert await visit.page.evaluate("document.body.dataset.mark") == "the same document"


@pytest.mark.parametrize("page", [page for page in PAGES if page.live and "{" not in page.path], ids=lambda page: page.name)
async def test_hostile_bodies_that_come_while_somebody_looks_run_nothing(
    running: Running, visiting: Visiting, page: Page
) -> None:
    visit = await live(visiting, running, page.path)
    async with visit.page.expect_response(lambda answer: answer.request.resource_type == "xhr"):
        for body in HOSTILE.values():
            await running.post(body)
    async with visit.page.expect_response(lambda answer: answer.request.resource_type == "xhr") as fetched:
        await running.post(event(reference_id="ITEM-LAST"))
    await (await fetched.value).finished()
    await says(visit.page, "live")


async def test_a_page_says_that_it_is_not_live_when_the_gateway_is_gone(running: Running, visiting: Visiting) -> None:
    visit = await live(visiting, running, "/")
    await asyncio.to_thread(running.kill)
    await expect(visit.page.locator("#live")).not_to_have_attribute("data-state", "live")
    assert all("ERR_CONNECTION_REFUSED" in trouble or "ERR_INCOMPLETE" in trouble for trouble in visit.take_troubles())


async def test_a_gateway_that_stops_ends_the_streams_of_open_pages_first(running: Running, visiting: Visiting) -> None:
    visit = await live(visiting, running, "/")
    assert await running.stop() == 0
    await expect(visit.page.locator("#live")).not_to_have_attribute("data-state", "live")
    visit.take_troubles()  # the browser tries to connect again, and tells that it cannot


async def test_a_page_is_live_again_after_its_gateway_has_come_back(anchored: Running, visiting: Visiting) -> None:
    visit = await live(visiting, anchored, "/")
    await expect(visit.page.locator("main")).to_contain_text(NOTHING)
    assert await anchored.stop() == 0
    await expect(visit.page.locator("#live")).not_to_have_attribute("data-state", "live")
    anchored.start()
    await anchored.post(event())
    await says(visit.page, "live")
    await expect(visit.page.locator("main")).not_to_contain_text(NOTHING)
    visit.take_troubles()  # the browser told each time that it could not connect


async def test_a_page_that_nobody_sees_follows_nothing_and_catches_up_when_it_is_seen(
    running: Running, visiting: Visiting
) -> None:
    visit = await live(visiting, running, "/")
    async with visit.page.expect_event("requestfailed", lambda request: request.url.endswith("/live")):
        await visit.page.evaluate(HIDE, True)
    asked = len(visit.requests)
    await running.post(event())
    assert len(visit.requests) == asked
    await visit.page.evaluate(HIDE, False)
    await expect(visit.page.locator("main")).not_to_contain_text(NOTHING)


async def test_a_page_without_javascript_says_when_it_was_true(running: Running, visiting: Visiting) -> None:
    visit = await visiting.begin(origin_of(running), Look(scripts=False))
    await visit.to("/")
    await expect(visit.page.locator("#live")).to_have_text(re.compile(r"as of \d\d:\d\d:\d\d"))
