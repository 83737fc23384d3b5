"""Texts of strangers run nothing, hide nothing and break no layout, on any page that shows them.

The fixture `visiting` fails a test in which a payload ran, was asked for, or was stopped by the Content-Security-Policy alone: of
the last, the browser tells on its console.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

import pytest

from gateway.web.pages.page import Page
from gateway.web.pages.page_table import PAGES
from tests.browser.hostile import HOSTILE, MARKUP
from tests.browser.layout import sideways
from tests.browser.matrix import SCRIPTS, Place
from tests.browser.stories import Told
from tests.browser.visiting import NARROW, WIDE, Look, Visit, Visiting

ABOUT_ONE = [page for page in PAGES if any(name in page.path for name in ("{id}", "{sr_uuid}", "{number}"))]
SEARCHES = [page for page in PAGES if "q" in page.query]
OF_MANY = [Place(page.name, page.path) for page in PAGES if "{" not in page.path]
TURNING = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0e-\x1f\ud800-\udfff]")
"""Characters that turn the direction of writing, or draw nothing."""
LIVELY = """() => [...document.querySelectorAll("*")].flatMap(element => [
    ...[...element.attributes].filter(one => /^on/i.test(one.name) || /^\\s*javascript:/i.test(one.value)).map(one => one.name),
    ...(element.localName === "script" && !element.src ? ["script"] : []),
    ...(["iframe", "object", "embed", "base"].includes(element.localName) ? [element.localName] : []),
])"""
"""Finds everything in a page that could run and is not the one script of the pages."""

UNSEEN = """() => [...document.querySelectorAll("main a")].filter(one => !one.innerText.trim()).map(one => one.outerHTML)"""
"""Finds links that nobody can see."""


def subject(name: str) -> Mapping[str, str]:
    """The names that lead to what a hostile body is about; a body that is no JSON object is about no service request."""
    try:
        uuid = json.loads(HOSTILE[name])["sr_uuid"]
    except (ValueError, TypeError, RecursionError):
        uuid = ""
    return {"sr_uuid": quote(uuid, safe="")}


CASES = [(page, name) for page in ABOUT_ONE for name in HOSTILE if "{sr_uuid}" not in page.path or subject(name)["sr_uuid"]]


async def harmless(visit: Visit) -> None:
    """Assert that nothing on the page can run, that nothing is hidden, that links are seen, and all fits into both windows."""
    assert await visit.page.evaluate(LIVELY) == []
    assert TURNING.search(await visit.page.evaluate("() => document.documentElement.outerHTML")) is None
    assert await visit.page.evaluate(UNSEEN) == []
    assert await visit.page.evaluate("() => document.dir || getComputedStyle(document.body).direction") == "ltr"
    for width in (WIDE, NARROW):
        await visit.look_again(width=width)
        assert await sideways(visit.page) == [], width


@pytest.mark.parametrize(("page", "name"), CASES, ids=[f"{page.name}-{name}" for page, name in CASES])
async def test_a_hostile_body_does_nothing_on_a_page_about_it(visiting: Visiting, told: Told, page: Page, name: str) -> None:
    visit = await visiting.begin(told.origin)
    names = {"id": told.hostile[name], "number": told.caught[told.hostile[name]], **subject(name)}
    await visit.to(page.path.format_map(names))
    await harmless(visit)


@pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("place", OF_MANY, ids=str)
async def test_hostile_bodies_do_nothing_on_a_page_of_many(visiting: Visiting, told: Told, place: Place, scripts: bool) -> None:
    visit = await visiting.begin(told.origin, Look(scripts=scripts))
    await visit.to(place.path({}))
    await harmless(visit)


TEXTS = {"markup": MARKUP, "turned": "\u202egpj", "long": "x" * 900, "percent": "%", "dots": "../../", "quote": '"'}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("page", SEARCHES, ids=lambda page: page.name)
async def test_a_search_for_a_hostile_text_does_nothing(visiting: Visiting, told: Told, page: Page, text: str) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to(f"{page.path}?q={quote(text, safe='')}", status={200, 404})
    await harmless(visit)


async def test_a_hostile_address_does_nothing(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    for path in (f"/{quote(MARKUP, safe='')}", f"/sr/{quote(MARKUP, safe='')}", f"/?x={quote(MARKUP, safe='')}"):
        await visit.to(path, status={200, 400, 404})
        await harmless(visit)
