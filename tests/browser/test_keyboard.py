"""Everything on a page can be reached and done by keyboard alone, and a person always sees where the keyboard is."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.keyboard import tabbed
from tests.browser.matrix import PLACES, SCRIPTS, WHOLE, Place
from tests.browser.stories import Told
from tests.browser.visiting import Look, Visiting


@pytest.mark.parametrize("scripts", SCRIPTS.values() if WHOLE else [True], ids=SCRIPTS if WHOLE else ["JavaScript"])
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_tab_reaches_everything_and_the_focus_is_seen(visiting: Visiting, told: Told, place: Place, scripts: bool) -> None:
    visit = await visiting.begin(told.origin, Look(scripts=scripts))
    await visit.to(place.path(told.names))
    missed, unseen = await tabbed(visit.page)
    assert (missed, unseen) == ([], [])


async def test_the_first_tab_is_a_way_past_the_navigation(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/")
    await visit.page.keyboard.press("Tab")
    await expect(visit.page.locator("a.skip")).to_be_focused()
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator("main")).to_be_focused()


async def test_a_slash_searches_and_escape_leaves_the_field(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/")
    search = visit.page.locator("#q")
    await visit.page.keyboard.press("/")
    await expect(search).to_be_focused()
    await visit.page.keyboard.type("a/b?")
    await expect(search).to_have_value("a/b?")
    await visit.page.keyboard.press("Escape")
    await expect(search).not_to_be_focused()


async def test_a_question_mark_lists_the_keys_and_escape_closes_the_list(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/")
    keys = visit.page.get_by_role("dialog")
    await visit.page.keyboard.press("?")
    await expect(keys).to_be_visible()
    await expect(keys).to_contain_text("/")
    await visit.page.keyboard.press("j")
    await expect(keys).to_be_visible()
    await visit.page.keyboard.press("Escape")
    await expect(keys).not_to_be_visible()


async def test_keys_of_the_browser_keep_their_meaning(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/")
    for keys in ("Control+/", "Alt+j", "Meta+k"):
        await visit.page.keyboard.press(keys)
    await expect(visit.page.locator("body")).to_be_focused()
