"""The fixtures of this folder find what they are there to find: each is tried on a page that has the defect."""

from __future__ import annotations

import pytest

from tests.browser.axe import Axe
from tests.browser.keyboard import tabbed
from tests.browser.layout import language, sideways, words
from tests.browser.visiting import NARROW, Look, Visit, Visiting
from tests.support.strangers import Stranger

GOOD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>
<body><main><h1>Heading</h1>%s</main></body></html>"""
LOOKS = [Look(), Look(scripts=False), Look("ja", "dark", NARROW), Look("ja", "dark", NARROW, scripts=False)]
either = pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])


async def showing(visiting: Visiting, stranger: Stranger, inner: str, look: Look = Look()) -> Visit:  # noqa: B008 (frozen)
    """A visit of a page with these contents."""
    stranger.pages["/"] = GOOD % inner
    visit = await visiting.begin(stranger.origin(), look)
    await visit.to("/")
    return visit


@pytest.mark.parametrize("look", LOOKS, ids=str)
async def test_a_good_page_has_no_trouble(visiting: Visiting, stranger: Stranger, axe: Axe, look: Look) -> None:
    visit = await showing(visiting, stranger, "<p>Some words</p>", look)
    assert await axe.violations(visit.page) == [] and await sideways(visit.page) == []
    assert visit.troubles == []


@either
async def test_a_violation_is_found(visiting: Visiting, stranger: Stranger, axe: Axe, scripts: bool) -> None:
    if axe.why_not:
        pytest.skip(axe.why_not)
    faint = "<style>p { color: #cccccc; background: #ffffff }</style><p>hard to read</p><button></button>"
    visit = await showing(visiting, stranger, faint, Look(scripts=scripts))
    found = await axe.violations(visit.page)
    assert {one.partition(":")[0] for one in found} == {"button-name", "color-contrast"}


async def test_a_violation_in_one_theme_and_one_width_is_found_without_loading_again(
    visiting: Visiting, stranger: Stranger, axe: Axe
) -> None:
    style = """p { color: #000000; background: #ffffff }
        @media (prefers-color-scheme: dark) and (max-width: 400px) { p { color: #222222; background: #111111 } }"""
    visit = await showing(visiting, stranger, f"<style>{style}</style><p>words</p>")
    if axe.why_not:
        pytest.skip(axe.why_not)
    assert await axe.violations(visit.page) == []
    await visit.look_again(theme="dark", width=NARROW)
    assert [one.partition(":")[0] for one in await axe.violations(visit.page)] == ["color-contrast"]
    assert len(visit.requests) == 1


async def test_messages_errors_and_dialogs_of_scripts_are_found(visiting: Visiting, stranger: Stranger) -> None:
    visit = await showing(visiting, stranger, """<script>console.debug("a word"); alert(1); missing();</script>""")
    troubles = visit.take_troubles()
    assert [trouble.partition(":")[0] for trouble in troubles] == ["console", "dialog", "script"]
    assert "a word" in troubles[0] and "missing is not defined" in troubles[2]


async def test_a_payload_that_runs_or_is_asked_for_is_found(visiting: Visiting, stranger: Stranger) -> None:
    visit = await showing(visiting, stranger, """<img src="/canary.png" alt="" onload="0" onerror="canary('img')">""")
    assert {"CANARY" in trouble for trouble in visit.take_troubles()} == {True}


@either
@pytest.mark.parametrize("url", ["http://other.example:{port}/x.png", "http://localhost:{port}/x.png", "https://192.0.2.1/x.png"])
async def test_a_request_that_leaves_is_found(visiting: Visiting, stranger: Stranger, url: str, scripts: bool) -> None:
    url = url.format(port=stranger.port)
    visit = await showing(visiting, stranger, f"""<img src="{url}" alt="">""", Look(scripts=scripts))
    assert f"left the gateway: GET {url}" in visit.take_troubles()


async def test_nothing_outside_this_machine_is_reached(visiting: Visiting, stranger: Stranger) -> None:
    visit = await showing(visiting, stranger, """<img src="https://192.0.2.1/x.png" alt=""><img src="//name.invalid/" alt="">""")
    failed = [trouble for trouble in visit.take_troubles() if trouble.startswith("request failed")]
    assert len(failed) == 2 and all(trouble.endswith("net::ERR_NAME_NOT_RESOLVED") for trouble in failed)


async def test_a_request_that_fails_is_found_and_an_expected_status_is_not(visiting: Visiting, stranger: Stranger) -> None:
    visit = await visiting.begin(stranger.origin())
    stranger.pages["/"], stranger.always = GOOD % "", (404, {})
    await visit.to("/", status=404)
    assert visit.troubles == []
    stranger.pages["/other"] = GOOD % """<img src="/nothing.png" alt="">"""
    with pytest.raises(AssertionError, match=r"404 in place of \[200\]"):
        await visit.to("/other")
    await visit.page.evaluate("0")
    assert len(visit.take_troubles()) == 2


@either
async def test_what_is_too_wide_or_cut_off_is_found(visiting: Visiting, stranger: Stranger, scripts: bool) -> None:
    wide = """<div style="width: 500px">wide</div>"""
    visit = await showing(visiting, stranger, wide, Look(width=NARROW, scripts=scripts))
    assert "the page is" in (await sideways(visit.page))[0]
    cut = f"""<style>html, body {{ overflow-x: hidden }}</style>{wide}"""
    assert "wide" in (await sideways((await showing(visiting, stranger, cut, visit.look)).page))[0]
    scrolled = f"""<div style="overflow-x: auto">{wide}</div>"""
    assert await sideways((await showing(visiting, stranger, scrolled, visit.look)).page) == []


async def test_words_are_all_that_people_see_without_data(visiting: Visiting, stranger: Stranger) -> None:
    inner = """<p>Words <span translate="no">ITEM-1</span> <code>x</code></p><p hidden>no</p>
        <input placeholder="Find" aria-label="L">"""
    visit = await showing(visiting, stranger, inner)
    assert await words(visit.page) == ["Heading", "Words", "Find", "L", "A page"]
    assert await language(visit.page) == "en"


@pytest.mark.parametrize(("look", "accepted"), [(Look("en"), "en-GB"), (Look("ja"), "ja")])
async def test_the_browser_asks_for_the_language_of_the_look(
    visiting: Visiting, stranger: Stranger, look: Look, accepted: str
) -> None:
    await showing(visiting, stranger, "", look)
    assert stranger.requests[-1].headers["accept-language"].startswith(accepted)


async def test_what_the_keyboard_does_not_reach_or_does_not_show_is_found(visiting: Visiting, stranger: Stranger) -> None:
    inner = """<style>#dim:focus { outline: none }</style><a href="/x">fine</a><button id="dim">x</button>
        <button tabindex="-1" id="far">x</button><button hidden>x</button><button disabled>x</button>"""
    visit = await showing(visiting, stranger, inner)
    assert await tabbed(visit.page) == (["<button> far"], ["<button> dim"])
