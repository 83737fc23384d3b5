"""People ask Legitmark's API at the page of a request, and see the answer there when it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import expect

from gateway.web.pages.catalogue import catalogue
from tests.browser.axe import Axe
from tests.browser.matrix import FEW_WAYS, is_whole
from tests.browser.stories import SMALL, origin_of
from tests.browser.visiting import LANGUAGES, Language, Look, Visiting
from tests.support.fake_legitmark import KEY, TOO_MANY, FakeLegitmark, found
from tests.support.gateway_process import Running, no_traceback
from tests.support.served_legitmark import served_legitmark
from tests.support.waiting import until_answer
from tests.support.webhooks import event

SR = "b16c763b-1723-455d-ba29-164418044886"
AT, LATER = "2026-03-01T22:05:59.000Z", "2026-03-02T22:05:59.000Z"


class Asked(NamedTuple):
    running: Running
    api: FakeLegitmark


@pytest_asyncio.fixture(loop_scope="session")
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    """A gateway that heard of a request, and an API that asks for patience until a test lets it answer."""
    with served_legitmark() as api:
        table = f'[reconcile]\nurl = "{api.url}"\napi_key = {{ env = "API_KEY" }}\n'
        with Running(tmp_path, table + SMALL, {"API_KEY": KEY}) as running, no_traceback(running):
            await running.post(event(SR, state={"primary": "QC", "supplement": "PENDING"}, timestamp=AT))
            api.says(SR, TOO_MANY)
            yield Asked(running, api)


@pytest.mark.parametrize("said", LANGUAGES)
async def test_a_live_page_shows_the_answer_when_it_comes(asked: Asked, visiting: Visiting, axe: Axe, said: Language) -> None:
    texts = catalogue(said)
    visit = await visiting.begin(origin_of(asked.running), Look(said))
    await visit.to(f"/sr/{SR}")
    button, box = visit.page.get_by_role("button", name=texts.text("do.ask")), visit.page.locator('[data-key="inquiry"]')
    await button.dblclick()
    await expect(box).to_contain_text("HTTP 429")
    await expect(button).to_have_count(0)
    await is_whole(visit, axe, FEW_WAYS)
    await visit.page.evaluate("document.body.dataset.mark = 'the same document'")
    asked.api.says(SR, found(SR, "QC", "PENDING", AT))
    await expect(box).to_contain_text(texts.text("inquiry.same", state="QC/PENDING"))
    assert await visit.page.evaluate("document.body.dataset.mark") == "the same document"
    await expect(button).to_be_visible()
    await is_whole(visit, axe, FEW_WAYS)
    assert len(asked.running.audit("reconcile.finished")) == 1


async def test_a_live_page_shows_an_answer_that_is_doubted(asked: Asked, visiting: Visiting, axe: Axe) -> None:
    visit = await visiting.begin(origin_of(asked.running), Look("ja"))
    await visit.to(f"/sr/{SR}")
    await visit.page.get_by_role("button", name=catalogue("ja").text("do.ask")).click()
    box = visit.page.locator('[data-key="inquiry"]')
    await expect(box).to_contain_text("HTTP 429")
    asked.api.says(SR, found(SR, "COMPLETE", "APPROVED", LATER))
    # No line of the audit log tells of this change; a minute later a seal would.
    await expect(box).to_contain_text("COMPLETE/APPROVED", timeout=20_000)
    await is_whole(visit, axe, FEW_WAYS)


async def test_without_javascript_the_page_says_how_far_it_is_and_leads_on(asked: Asked, visiting: Visiting) -> None:
    visit = await visiting.begin(origin_of(asked.running), Look(scripts=False))
    await visit.to(f"/sr/{SR}")
    await visit.page.get_by_role("button", name="Ask Legitmark now").click()
    box = visit.page.locator('[data-key="inquiry"]')
    await expect(box).to_contain_text("HTTP 429")
    asked.api.says(SR, found(SR, "QC", "PENDING", AT))

    async def looked_again() -> str:
        if await (link := visit.page.get_by_role("link", name="Look again")).count():
            await link.click()
        return await box.inner_text()

    await until_answer(looked_again, lambda text: "agrees" in text)
    await visit.to("/acts")
    await expect(visit.page.locator("main")).to_contain_text("the API agrees")
