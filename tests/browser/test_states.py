"""The states of pages in which there is nothing to show: no message has come yet, the store fails, nothing has that address."""

from __future__ import annotations

import pytest

from tests.browser.axe import Axe
from tests.browser.layout import language
from tests.browser.matrix import FEW_WAYS, PLACES, WHOLE, Place, is_whole
from tests.browser.stories import NOWHERE, Told, origin_of
from tests.browser.visiting import LANGUAGES, Language, Look, Visiting
from tests.support.gateway_process import Running

LOOKS = [Look(said, scripts=scripts) for said in LANGUAGES for scripts in (True, False)]


def looks(one: Look) -> pytest.MarkDecorator:
    """All looks in a whole run, otherwise this one."""
    ids = lambda look: f"{look.language}-{'JavaScript' if look.scripts else 'none'}"  # noqa: E731
    return pytest.mark.parametrize("look", LOOKS if WHOLE else [one], ids=ids)


@looks(Look("en"))
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_page_of_an_empty_gateway_is_whole(
    visiting: Visiting, empty: Running, axe: Axe, place: Place, look: Look
) -> None:
    visit = await visiting.begin(origin_of(empty), look)
    await visit.to(place.path(NOWHERE), status={200, 404} if place.is_named else 200)
    assert await language(visit.page) == look.language
    await is_whole(visit, axe, FEW_WAYS)


@looks(Look("ja", scripts=False))
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_page_answers_while_the_store_fails_and_says_so(
    visiting: Visiting, failing: Running, axe: Axe, place: Place, look: Look
) -> None:
    visit = await visiting.begin(origin_of(failing), look)
    # A sink that is not in the configuration is missed without a question to the store, and so is a request that has gone.
    statuses = {200, 404, 503} if place.page == "caught" else {200, 503}
    await visit.to(place.path({**NOWHERE, "name": "archive"}), status=statuses)
    # A form that was refused has an alert of its own.
    assert await visit.page.get_by_role("alert").count() == (2 if "wrong=" in place.query else 1)
    assert await language(visit.page) == look.language
    await is_whole(visit, axe, FEW_WAYS)


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("path", ["/nowhere", "/sr/nobody", "/messages?after=x", "/%00/%ff"])
async def test_an_address_that_is_wrong_is_answered_with_a_page(
    visiting: Visiting, told: Told, axe: Axe, said: Language, path: str
) -> None:
    visit = await visiting.begin(told.origin, Look(said))
    await visit.to(path, status={400, 404})
    assert await visit.page.get_by_role("search").count() == 1
    await is_whole(visit, axe, FEW_WAYS)
