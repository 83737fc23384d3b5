"""The script of the pages: keys that lead from row to row and page to page, and how it keeps a page right while it is live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.async_api import Route, expect

from tests.browser.stories import TOKENS, Told
from tests.browser.visiting import Visiting
from tests.support.webhooks import event

_ESCAPE = """composing => document.getElementById("q").dispatchEvent(
    new KeyboardEvent("keydown", { key: "Escape", isComposing: composing, bubbles: true, cancelable: true }))"""
_ROW = "() => [...document.querySelectorAll('[data-row]')].findIndex(row => row.contains(document.activeElement))"


async def test_j_and_k_lead_from_row_to_row_and_a_digit_to_a_page(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/sr")
    rows = []
    for key in ("j", "j", "j", "k"):
        await visit.page.keyboard.press(key)
        rows.append(await visit.page.evaluate(_ROW))
    assert rows == [0, 1, 2, 1]
    await visit.page.keyboard.press("4")
    await visit.page.wait_for_url(f"{told.origin}/dead")


async def test_escape_ends_the_choice_of_a_japanese_word_before_it_leaves_the_field(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/")
    search = visit.page.locator("#q")
    await search.focus()
    await visit.page.evaluate(_ESCAPE, True)
    await expect(search).to_be_focused()
    await visit.page.evaluate(_ESCAPE, False)
    await expect(search).not_to_be_focused()


async def test_details_that_somebody_opened_stay_open_while_a_page_changes(own_story: Told, visiting: Visiting) -> None:
    visit = await visiting.begin(own_story.origin)
    await visit.to(f"/sr/{own_story.bag}")
    await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
    rows = await visit.page.locator("[data-row]").count()
    await visit.page.locator("main summary").last.click()
    await own_story.running.post(event(own_story.bag, event_type="nobody_wants_it"))
    await expect(visit.page.locator("[data-row]")).to_have_count(rows + 1)
    await expect(visit.page.locator("main details").last).to_have_attribute("open", "")


async def test_a_page_that_hears_nothing_for_40_seconds_is_not_live_and_connects_again(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.page.clock.install()
    await visit.to("/")
    sign = visit.page.locator("#live")
    await expect(sign).to_have_attribute("data-state", "live")
    await visit.page.clock.run_for(40_500)
    await expect(sign).to_have_attribute("data-state", "lost")
    await visit.page.clock.run_for(30_500)
    await expect(sign).to_have_attribute("data-state", "live")


async def test_spans_of_time_are_right_on_a_computer_whose_clock_is_three_days_ahead(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.page.clock.install(time=datetime.now(UTC) + timedelta(days=3))
    await visit.to("/")
    spans = await visit.page.locator("time[data-ago]").all_inner_texts()
    assert spans and not any(" d" in span for span in spans), spans


async def test_spans_of_time_grow_while_nothing_comes(visiting: Visiting, told: Told) -> None:
    visit = await visiting.begin(told.origin)
    await visit.page.clock.install()
    await visit.to("/")
    span = visit.page.locator("time[data-ago]").first
    await expect(span).not_to_contain_text(" h")
    await visit.page.clock.fast_forward("02:00:00")
    await expect(span).to_contain_text("2 h")


async def test_a_live_page_whose_session_ended_keeps_what_it_shows_and_says_that_it_is_not_live(
    visiting: Visiting, guarded: Told
) -> None:
    visit = await visiting.begin(guarded.origin)
    await visit.to("/sr")
    await visit.page.keyboard.type(TOKENS["operate"])
    await visit.page.keyboard.press("Enter")
    sign = visit.page.locator("#live")
    await expect(sign).to_have_attribute("data-state", "live")
    await visit.context.clear_cookies()
    await guarded.running.post(event())
    await expect(sign).to_have_attribute("data-state", "lost")
    await expect(visit.page.locator("h1")).to_have_text("Service requests")


async def test_a_live_page_does_not_show_another_page_in_its_place(own_story: Told, visiting: Visiting) -> None:
    async def elsewhere(route: Route) -> None:
        if route.request.resource_type == "xhr":
            await route.fulfill(status=303, headers={"Location": "/messages"})
        else:
            await route.continue_()

    visit = await visiting.begin(own_story.origin)
    await visit.to("/sr")
    await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
    await visit.page.route("**/sr", elsewhere)
    await own_story.running.post(event())
    await expect(visit.page.locator("#live")).to_have_attribute("data-state", "lost")
    await expect(visit.page.locator("h1")).to_have_text("Service requests")
