"""[Evidence] in a real Chromium: a click saves a file that is proven offline, with and without JavaScript, in each language."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.evidence_check import EvidenceCheck
from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.core.users import Role
from gateway.web.pages.catalogue import catalogue
from tests.browser.axe import Axe
from tests.browser.layout import language
from tests.browser.matrix import FEW_WAYS, is_whole
from tests.browser.stories import TOKENS, Told
from tests.browser.visiting import LANGUAGES, Language, Look, Visit, Visiting
from tests.support.waiting import PATIENCE
from tests.support.webhooks import SECRET


async def saved(visit: Visit, file: Path) -> str:
    """Click the button of the page that is shown, save what comes, and return the name that the browser gives it."""
    async with visit.page.expect_download(timeout=PATIENCE * 1000) as coming:
        await visit.page.get_by_role("button", name=catalogue(visit.look.language).text("evidence.button"), exact=True).click()
    download = await coming.value
    await download.save_as(file)
    assert await download.failure() is None
    return download.suggested_filename


def check_of(data: bytes) -> EvidenceCheck:
    check = EvidenceCheck("saved", keys=[("the secret", Key(Secret(SECRET)))])
    for line in data.splitlines(keepends=True):
        check.add(line)
    check.finish()
    return check


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("scripts", [True, False], ids=["JavaScript", "none"])
async def test_a_click_saves_the_evidence_about_a_service_request(
    visiting: Visiting, told: Told, tmp_path: Path, said: Language, scripts: bool
) -> None:
    visit = await visiting.begin(told.origin, Look(said, scripts=scripts))
    await visit.to(f"/sr/{told.bag}")
    name = await saved(visit, tmp_path / "saved")
    data = (tmp_path / "saved").read_bytes()
    check = check_of(data)
    assert name.endswith(".evidence.jsonl") and check.about is not None and check.about.asked == told.bag
    assert len(check.messages) > 5 and all(one.seal is not None for one in check.messages)
    assert (check.problems, check.unproven) == ([], [])
    place = data.index(b'"body":"') + 20
    assert not check_of(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]).sound
    assert visit.page.url == f"{told.origin}/sr/{told.bag}", "the page stays"


async def test_a_key_saves_the_evidence_about_a_message(visiting: Visiting, told: Told, tmp_path: Path) -> None:
    visit = await visiting.begin(told.origin)
    await visit.to(f"/messages/{told.message}")
    async with visit.page.expect_download() as coming:
        await visit.page.get_by_role("button", name="Evidence", exact=True).focus()
        await visit.page.keyboard.press("Enter")
    await (await coming.value).save_as(tmp_path / "saved")
    check = check_of((tmp_path / "saved").read_bytes())
    assert [one.message_id for one in check.messages] == [told.message] and check.sound


async def test_a_person_without_bodies_has_no_button(visiting: Visiting, guarded: Told) -> None:
    for role in Role:
        visit = await visiting.begin(guarded.origin, token=TOKENS[role])
        for path in (f"/sr/{guarded.bag}", f"/messages/{guarded.message}"):
            await visit.to(path)
            buttons = await visit.page.get_by_role("button", name="Evidence", exact=True).count()
            assert buttons == (1 if role.includes(Role.READ) else 0)


@pytest.mark.parametrize("said", LANGUAGES)
async def test_a_refusal_is_a_page_in_the_language_of_the_reader(
    own_story: Told, visiting: Visiting, axe: Axe, said: Language
) -> None:
    visit = await visiting.begin(own_story.origin, Look(said))
    await visit.to(f"/sr/{own_story.bag}")
    own_story.running.audit_file.rename(own_story.running.folder / "elsewhere.jsonl")
    own_story.running.audit_file.write_text(
        '{"v":1,"time":"2199-01-01T00:00:00.000Z","event":"gateway.started"}\n', encoding="utf-8"
    )
    visit.expect(visit.page.url, 404)
    texts = catalogue(said)
    await visit.page.get_by_role("button", name=texts.text("evidence.button"), exact=True).click()
    await visit.page.get_by_role("heading", name=texts.text("problem.log_gone")).wait_for()
    assert texts.text("problem.log_gone_do") in await visit.page.locator("main").inner_text()
    assert await language(visit.page) == said
    await is_whole(visit, axe, FEW_WAYS)
