"""A person signs in and out, by keyboard, in both languages, with and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from gateway.web.pages.catalogue import catalogue
from tests.browser.axe import Axe
from tests.browser.layout import language, sideways, words
from tests.browser.matrix import SCRIPTS, WAYS, is_whole
from tests.browser.stories import TOKENS, Told
from tests.browser.visiting import LANGUAGES, NARROW, Language, Look, Visiting

either = pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS)
languages = pytest.mark.parametrize("said", LANGUAGES)


@either
@languages
async def test_the_page_to_sign_in_is_accessible_in_every_way(
    visiting: Visiting, guarded: Told, axe: Axe, said: Language, scripts: bool
) -> None:
    visit = await visiting.begin(guarded.origin, Look(said, scripts=scripts))
    await visit.to("/sr?state=documented")
    assert visit.page.url.startswith(f"{guarded.origin}/login?")
    assert await language(visit.page) == said
    await is_whole(visit, axe, WAYS)


@either
async def test_a_token_typed_by_keyboard_leads_to_the_page_that_was_wanted(
    visiting: Visiting, guarded: Told, scripts: bool
) -> None:
    visit = await visiting.begin(guarded.origin, Look(scripts=scripts))
    await visit.to("/sr?state=documented")
    await expect(visit.page.get_by_role("textbox")).to_be_focused()
    await visit.page.keyboard.type(TOKENS["support"])
    await visit.page.keyboard.press("Enter")
    await visit.page.wait_for_url(f"{guarded.origin}/sr?state=documented")
    await expect(visit.page.locator("header")).to_contain_text("support")
    (cookie,) = await visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert TOKENS["support"] not in str(cookie)


@languages
async def test_a_wrong_token_is_told_and_the_page_stays_accessible(
    visiting: Visiting, guarded: Told, axe: Axe, said: Language
) -> None:
    visit = await visiting.begin(guarded.origin, Look(said, width=NARROW))
    await visit.to("/")
    visit.expect(f"{guarded.origin}/login", 401)
    await visit.page.keyboard.type("another token")
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.get_by_role("alert")).to_be_visible()
    assert await language(visit.page) == said
    assert "another token" not in await visit.page.content()
    assert await axe.violations(visit.page) == [] and await sideways(visit.page) == []


async def test_signing_out_ends_the_session_and_the_way_back_is_closed(visiting: Visiting, guarded: Told) -> None:
    visit = await visiting.begin(guarded.origin)
    await visit.to("/")
    await visit.page.keyboard.type(TOKENS["operate"])
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator("header")).to_contain_text("operate")
    cookies = await visit.context.cookies()
    await visit.page.get_by_role("button", name="Sign out").click()
    await visit.page.wait_for_url(f"{guarded.origin}/login*")
    await visit.context.add_cookies([{"name": one["name"], "value": one["value"], "url": guarded.origin} for one in cookies])
    await visit.to("/")
    assert visit.page.url.startswith(f"{guarded.origin}/login")


@pytest.mark.parametrize("said", LANGUAGES)
async def test_a_form_that_is_sent_after_the_session_ended_changes_nothing_and_says_so(
    visiting: Visiting, guarded: Told, axe: Axe, said: Language
) -> None:
    visit = await visiting.begin(guarded.origin, Look(said))
    await visit.to("/sinks/erp")
    await visit.page.keyboard.type(TOKENS["operate"])
    await visit.page.keyboard.press("Enter")
    pause = visit.page.locator("form[action^='/act'] button").first
    await expect(pause).to_be_visible()
    await visit.context.clear_cookies()
    visit.expect(f"{guarded.origin}/live", 401)  # if the page's stream begins only now
    await pause.click()
    await expect(visit.page.get_by_role("alert")).to_have_text(catalogue(said).text("login.ended"))
    assert guarded.running.audit("sink.paused", sink="erp") == []
    assert await axe.violations(visit.page) == [] and await sideways(visit.page) == []


async def test_the_two_languages_of_the_page_to_sign_in_share_no_words(visiting: Visiting, guarded: Told) -> None:
    texts = []
    for said in LANGUAGES:
        visit = await visiting.begin(guarded.origin, Look(said))
        await visit.to("/login")
        texts.append(set(await words(visit.page)))
    assert texts[0] & texts[1] == {"legitmark-gateway", "EN", "日本語"}
