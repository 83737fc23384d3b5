"""Every word of a page that is not data is in the language that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from gateway.web.pages.catalogue import catalogue
from tests.browser.layout import words
from tests.browser.matrix import PLACES, Place
from tests.browser.stories import Told
from tests.browser.visiting import Look, Visiting

LATIN = re.compile(r"[A-Za-z][A-Za-z_]+")
NUMBER = re.compile("⟦U\\+[0-9A-F]+⟧")
"""The form in which a page shows a character that draws nothing."""
END_OF_TITLES = " · legitmark-gateway"
JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
EVERYWHERE = {"EN", "ID", "JSON", "URL", "UTC", "UUID", "admin", "gateway", "legitmark"}
"""Words that are the same in every language, and the name of the visitor."""


def english_texts() -> Iterator[re.Pattern[str]]:
    """Every text that reads otherwise in Japanese and has words of its own; a placeholder stands for anything."""
    japanese = catalogue("ja").texts
    for key, text in catalogue("en").texts.items():
        for form in (text,) if isinstance(text, str) else text:
            parts = re.split(r"\{\w+\}", form)
            if japanese[key] != text and LATIN.search(" ".join(parts)):
                yield re.compile(".+".join(map(re.escape, parts)), re.DOTALL)


async def data_of(told: Told, place: Place) -> str:
    """All texts of the page's data."""
    answer = await told.running.admin(place.twin(told.names))
    return json.dumps(json.loads(answer.body), ensure_ascii=False) + str(told.names)


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_japanese_page_has_no_english_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("ja", scripts=False))
    await visit.to(place.path(told.names))
    shown = await words(visit.page)
    assert [text for text in shown if any(english.fullmatch(text) for english in english_texts())] == []
    known = set(LATIN.findall(await data_of(told, place))) | EVERYWHERE
    assert {word for text in shown for word in LATIN.findall(NUMBER.sub("", text))} - known == set()


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_an_english_page_has_no_japanese_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("en", scripts=False))
    await visit.to(place.path(told.names))
    data = await data_of(told, place)
    shown = [text.removesuffix(END_OF_TITLES) for text in await words(visit.page)]
    assert [text for text in shown if JAPANESE.search(text) and text not in data and text != "日本語"] == []
