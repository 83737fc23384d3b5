"""Every page, in both languages, both themes, both widths, with and without JavaScript, of a gateway with a rich story."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from gateway.web.pages.page_table import PAGES
from tests.browser.axe import Axe
from tests.browser.layout import language
from tests.browser.matrix import FEW_WAYS, ONE_WAY, PLACES, SCRIPTS, WAYS, Place, is_whole
from tests.browser.stories import Told
from tests.browser.visiting import LANGUAGES, Language, Look, Visiting

LIVE = {page.name for page in PAGES if page.live}


@pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_page_is_accessible_and_fits_into_the_window_in_every_way(
    visiting: Visiting, told: Told, axe: Axe, place: Place, said: Language, scripts: bool
) -> None:
    """The fixture `visiting` adds: no console message, no error of a script, no request elsewhere, and no payload that ran."""
    visit = await visiting.begin(told.origin, Look(said, scripts=scripts))
    await visit.to(place.path(told.names))
    if scripts and place.page in LIVE:
        await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
    assert await language(visit.page) == said
    in_english = said == LANGUAGES[0]
    await is_whole(visit, axe, ONE_WAY if not scripts else WAYS if in_english else FEW_WAYS)
