"""People act in a browser: with the keyboard, without JavaScript, and with two clicks on one button."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.stories import Told
from tests.browser.visiting import Look, Visiting


async def test_a_double_click_replays_once_and_a_live_page_shows_the_end(own_story: Told, visiting: Visiting) -> None:
    visit = await visiting.begin(own_story.origin)
    await visit.to("/dead")
    await visit.page.get_by_role("link", name=re.compile("^Replay")).first.click()
    await visit.page.locator("form.confirm button").dblclick()
    await expect(visit.page.locator(".job")).to_contain_text("queued again")
    replayed = own_story.running.audit("delivery.replayed")
    assert len(replayed) == len({line["delivery_id"] for line in replayed})


async def test_a_discard_asks_for_the_number_and_a_wrong_one_changes_nothing(own_story: Told, visiting: Visiting) -> None:
    visit = await visiting.begin(own_story.origin)
    await visit.to(f"/act?do=discard&id={own_story.message}&sink=warehouse")
    await expect(visit.page.locator("#typed")).to_be_focused()
    visit.expect(f"{own_story.origin}/act", 400)
    await visit.page.keyboard.type("2")
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator(".problem")).to_be_visible()
    assert own_story.running.audit("delivery.discarded") == []
    await visit.page.go_back()
    await visit.page.locator("#typed").fill("1")
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator(".job")).to_contain_text("1 delivery is discarded.")


async def test_a_paused_sink_is_resumed_from_its_page_and_says_so(own_story: Told, visiting: Visiting) -> None:
    visit = await visiting.begin(own_story.origin, Look(scripts=False))
    await visit.to("/sinks/desk")
    await visit.page.get_by_role("button", name="Resume").click()
    await expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    await expect(visit.page.locator("h1")).to_contain_text("ok")


async def test_a_pasted_event_shows_where_it_would_go(told: Told, visiting: Visiting) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to("/rules")
    await visit.page.get_by_label("An event as JSON").fill('{"event_type": "media_rejected", "sides": []}')
    await visit.page.get_by_role("button", name="See what it does").click()
    await expect(visit.page.get_by_role("status").last).to_contain_text("→ archive, erp, desk, customer_care")
