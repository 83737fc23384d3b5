"""Every word of a page that is not data is in the language that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, Self

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
EVERYWHERE = {"EN", "ID", "JSON", "TEST", "URL", "UTC", "UUID", "admin", "gateway", "legitmark", "svix"}
EVERYWHERE |= {"API", "KiB", "Legitmark", "Play", "base", "curl", "whsec_"}
"""Words that are the same in every language, names, and those of headers and secrets."""


class Data(NamedTuple):
    """The data of a page, as its twin has it."""

    text: str
    strings: frozenset[str]
    """Every key and every value that is a text."""

    @classmethod
    async def of(cls, told: Told, place: Place) -> Self:
        answer = await told.running.admin(place.twin(told.names))
        data = json.loads(answer.body)
        return cls(json.dumps(data, ensure_ascii=False) + str(told.names), frozenset(_strings(data)))


def _strings(data: object) -> Iterator[str]:
    match data:
        case str():
            yield data
        case list():
            for one in data:
                yield from _strings(one)
        case dict():
            for key, one in data.items():
                yield key
                yield from _strings(one)


def english_texts() -> Iterator[re.Pattern[str]]:
    """Every text that reads otherwise in Japanese and has words enough to be known by; a placeholder stands for anything."""
    japanese = catalogue("ja").texts
    for key, text in catalogue("en").texts.items():
        for form in (text,) if isinstance(text, str) else text:
            parts = re.split(r"\{\w+\}", form)
            words = LATIN.findall(" ".join(parts))
            if japanese[key] != text and len(words) >= (1 if len(parts) == 1 else 2):
                yield re.compile(".+".join(map(re.escape, parts)), re.DOTALL)


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_japanese_page_has_no_english_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("ja", scripts=False))
    await visit.to(place.path(told.names))
    shown, data, english = await words(visit.page), await Data.of(told, place), list(english_texts())
    assert [text for text in shown if text not in data.strings and any(one.fullmatch(text) for one in english)] == []
    foreign = {word for text in shown for word in LATIN.findall(NUMBER.sub("", text))} - EVERYWHERE
    assert {word for word in foreign if word not in data.text} == set()


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_an_english_page_has_no_japanese_text(visiting: Visiting, told: Told, place: Place) -> None:
    visit = await visiting.begin(told.origin, Look("en", scripts=False))
    await visit.to(place.path(told.names))
    data = await Data.of(told, place)
    shown = [text.removesuffix(END_OF_TITLES) for text in await words(visit.page)]
    assert [text for text in shown if JAPANESE.search(text) and text not in data.text and text != "日本語"] == []
