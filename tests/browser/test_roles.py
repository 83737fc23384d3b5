"""A person sees the pages and the texts that the own role allows, and is told which role is needed for the others."""

from __future__ import annotations

import pytest

from gateway.core.users import Role
from gateway.web.pages.page_table import PAGES
from tests.browser.axe import Axe
from tests.browser.layout import language
from tests.browser.matrix import ONE_WAY, PLACES, Place, is_whole
from tests.browser.stories import ONLY_IN_BODIES, TOKENS, Told
from tests.browser.visiting import LANGUAGES, Language, Look, Visiting

LEAST = {page.name: page.role for page in PAGES}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_role_sees_the_pages_that_it_may_see_and_only_links_to_those(
    visiting: Visiting, guarded: Told, place: Place, role: Role
) -> None:
    visit = await visiting.begin(guarded.origin, token=TOKENS[role])
    allowed = role.includes(LEAST[place.page])
    await visit.to(place.path(guarded.names), status=200 if allowed else 403)
    navigation = await visit.page.locator("nav a").evaluate_all("links => links.map(link => link.pathname)")
    assert navigation == [page.path for page in PAGES if page.in_navigation and role.includes(page.role)]


FORBIDDEN = [place for place in PLACES if LEAST[place.page] != Role.SUPPORT]


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("place", FORBIDDEN, ids=str)
async def test_a_page_that_is_not_allowed_says_which_role_is_needed(
    visiting: Visiting, guarded: Told, axe: Axe, place: Place, said: Language
) -> None:
    visit = await visiting.begin(guarded.origin, Look(said), token=TOKENS[Role.SUPPORT])
    await visit.to(place.path(guarded.names), status=403)
    assert LEAST[place.page].value in await visit.page.locator("main").inner_text()
    assert await language(visit.page) == said
    await is_whole(visit, axe, ONE_WAY)


ALLOWED = [place for place in PLACES if LEAST[place.page] == Role.SUPPORT]


@pytest.mark.parametrize("place", ALLOWED, ids=str)
async def test_no_page_that_support_may_see_quotes_what_a_sink_answered_or_a_body(
    visiting: Visiting, guarded: Told, place: Place
) -> None:
    """The answer of a sink may quote the body that it was sent."""
    visit = await visiting.begin(guarded.origin, token=TOKENS[Role.SUPPORT])
    await visit.to(place.path(guarded.names))
    shown = await visit.page.content()
    assert ONLY_IN_BODIES not in shown and "OrderNotFound" not in shown
