"""The ERP did not hear of an item: a person finds out why and mends it, in a minute, by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.matrix import SCRIPTS
from tests.browser.stories import Told, deliveries
from tests.browser.visiting import Look, Visiting
from tests.support.waiting import until_answer

ITEM = "SNK-88213-EU42"
_MOST_TABS = 60


class Keyboard:
    """A keyboard that counts."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.pressed = 0
        """Keys that were pressed, each letter of a text included."""

    async def press(self, key: str) -> None:
        self.pressed += 1
        await self._page.keyboard.press(key)

    async def type(self, text: str) -> None:
        self.pressed += len(text)
        await self._page.keyboard.type(text)

    async def go_to(self, target: Locator, key: str = "Tab") -> None:
        """Press a key until an element has the focus."""
        for _ in range(_MOST_TABS):
            if await target.evaluate("element => element === document.activeElement"):
                return
            await self.press(key)
        raise AssertionError(f"{_MOST_TABS} times {key} do not lead to {target}")


@pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS)
async def test_why_a_system_did_not_hear_of_an_item_is_found_and_mended_by_keyboard_alone(
    own_story: Told, visiting: Visiting, scripts: bool
) -> None:
    own_story.systems.orders_are_known = True  # the warehouse has been mended meanwhile
    visit = await visiting.begin(own_story.origin, Look(scripts=scripts))
    page, keyboard, main = visit.page, Keyboard(visit.page), visit.page.locator("main")
    await visit.to("/")
    if scripts:
        await keyboard.press("/")
    else:
        await keyboard.go_to(page.get_by_role("searchbox"))
    await keyboard.type(ITEM)
    await keyboard.press("Enter")
    await page.wait_for_url(f"**/sr/{own_story.shoes}*")
    await expect(main).to_contain_text("OrderNotFound")
    await keyboard.go_to(page.get_by_role("link", name="Replay warehouse"))
    await keyboard.press("Enter")
    await page.wait_for_url("**/act?*")
    await expect(main).to_contain_text("1 delivery")
    await expect(page.get_by_role("button", name="Replay 1 delivery")).to_be_focused()
    await keyboard.press("Enter")
    await page.wait_for_url("**/acts?job=*")
    await expect(page.locator(".job")).to_contain_text("1 delivery is queued again.")
    found = await until_answer(
        lambda: deliveries(own_story.running, sink="warehouse", state="delivered"), lambda listed: len(listed) == 1
    )
    assert found[0]["sr_uuid"] == own_story.shoes
    assert keyboard.pressed < 80
    await visit.to(f"/sr/{own_story.shoes}")
    await expect(main).not_to_contain_text("OrderNotFound")
    await expect(page.get_by_role("link", name="Replay warehouse")).to_have_count(0)
